"""The lake: a shop's tables as Parquet, with their history."""
