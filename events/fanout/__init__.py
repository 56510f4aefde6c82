"""From the bus to the clients: relay, hub, sessions. Knows ports and pure code, no framework and no backend."""
