"""Files of a workspace: where it lies, its mirror and leases, its lists of keys, erased users and hidden reviews."""
