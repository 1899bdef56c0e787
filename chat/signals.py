"""What one part of the chat tells others that it may not import."""

from django.dispatch import Signal

# After a commit, with `conversation_id`: something under its messages is to be counted anew.
recount_wanted = Signal()
