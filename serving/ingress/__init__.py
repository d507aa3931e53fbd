"""What a request meets first: access, rate limits, the proxies, and the form of errors."""
