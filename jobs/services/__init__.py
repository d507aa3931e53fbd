"""Processes that jobs start and call: the service and the load generator."""
