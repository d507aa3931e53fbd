"""What a replica polls: keys, hidden reviews, erased users, the mirror."""
