"""The online service: HTTP contract and Ray Serve application."""
