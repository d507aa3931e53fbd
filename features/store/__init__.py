"""The release protocol: publishing, reading, comparing, rewriting and deleting releases."""
