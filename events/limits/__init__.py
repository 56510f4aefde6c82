"""Bounds on what one client, one address and all of them together may take. Pure: the caller brings the time."""
