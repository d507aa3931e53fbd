"""Lists and vectors of a release as files, to take away."""
