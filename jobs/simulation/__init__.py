"""`recsys simulate`: simulated shoppers use the running service, day by day, with a nightly run after each day."""
