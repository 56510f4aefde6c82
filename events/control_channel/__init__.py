"""Requests to the process that owns a client, on each backend."""
