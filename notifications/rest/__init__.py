"""The REST edge of notifications."""
