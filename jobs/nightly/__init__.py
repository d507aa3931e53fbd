"""The nightly run: its steps, their cache, and the release it publishes."""
