"""Where tables come from: one module a format, and what they share."""
