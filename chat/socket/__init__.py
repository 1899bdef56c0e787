"""The socket edge of the chat."""
