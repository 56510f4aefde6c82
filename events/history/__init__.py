"""The history on each backend."""
