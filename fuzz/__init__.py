"""Coverage-guided fuzzing of everything that reads what strangers send: `python -m fuzz TARGET`, or `make fuzz` for all."""
