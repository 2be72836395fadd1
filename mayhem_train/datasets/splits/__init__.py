"""Which frames train, validate and test."""
