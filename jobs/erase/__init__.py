"""`recsys erase`: a user leaves every file, table and log, and gets a receipt."""
