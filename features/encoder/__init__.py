"""The text encoder: loading it, its adapters, int8, and which one a workspace uses."""
