"""The Ray cluster that jobs run on, and training with several workers."""
