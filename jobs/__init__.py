"""Batch steps on Ray, the nightly run, source adapters and the command line."""
