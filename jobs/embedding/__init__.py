"""Texts become vectors, in shards on Ray."""
