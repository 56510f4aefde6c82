"""The leader's lease on each backend."""
