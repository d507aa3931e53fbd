"""How a list is made, from the request to its record: the hot path."""
