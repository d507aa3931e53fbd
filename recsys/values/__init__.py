"""What a value means, as shops write it: ids, times, prices, availability and categories."""
