"""One suite per port of `events.ports`, run on every adapter."""
