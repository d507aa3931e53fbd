"""The live database: what happens between two nightly runs, in SQLite or PostgreSQL."""
