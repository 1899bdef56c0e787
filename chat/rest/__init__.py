"""The REST edge of the chat."""
