"""The releases in memory: the active one, those of experiments, and those loaded for a replay."""
