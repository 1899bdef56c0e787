"""The REST edge of accounts."""
