"""What others may want to know about accounts, sent once it has been committed."""

from django.dispatch import Signal

# Sessions were ended: sockets opened with them must close.
# Arguments: user_id (UUID), session_ids (list of UUID).
session_revoked = Signal()
