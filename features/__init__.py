"""Text and behaviour become vectors, and the LanceDB store that keeps them."""
