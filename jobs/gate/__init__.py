"""Checks of new data and of a candidate release: data in, findings out."""
