"""What the server says of itself: health, metrics, and the live clients. Reads `events.stats` only."""
