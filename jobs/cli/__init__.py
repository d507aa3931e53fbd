"""The commands of `recsys`, one file each."""
