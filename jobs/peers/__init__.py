"""Models of other libraries that a benchmark compares with; they run in an environment of their own."""
