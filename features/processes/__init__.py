"""The processes that a command starts: they end with it, also when it is killed, and leave no files."""
