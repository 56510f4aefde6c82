"""What an event, a topic, an entry and a position are. No I/O, no framework."""
