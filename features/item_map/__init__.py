"""Places of items on a two-dimensional map, and its colours."""
