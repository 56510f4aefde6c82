"""The event bus on each backend: where executors publish, and where the relay reads."""
