"""The HTML report of a nightly run."""
