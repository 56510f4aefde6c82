"""The small shared state on each backend."""
