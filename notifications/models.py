"""The notification table."""
