"""Benchmarks of quality, embedding and the service, each beside a peer."""
