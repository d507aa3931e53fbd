"""Texts of items, reviews and browsing: cleaning them, splitting them, and choosing what may be quoted."""
