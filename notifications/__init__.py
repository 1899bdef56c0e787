"""notify(), the inbox and its delivery channels, with the public face of django-notifs."""


class NotificationError(Exception):
    """A notification cannot be sent or read as asked; trying again will not help."""
