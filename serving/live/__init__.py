"""What has changed since the release was published: events, items, experiments."""
