"""The client registry on each backend."""
