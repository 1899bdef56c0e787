"""What others may want to know about accounts."""

from django.dispatch import Signal

# Sessions were ended, which is committed: sockets opened with them must close.
# Arguments: user_id (UUID), session_ids (list of UUID).
session_revoked = Signal()

# A guest is about to have another name: a receiver may raise Invalid.
# Arguments: user (User), with that name.
guest_renaming = Signal()

# A person was locked out, in a transaction that is not committed yet.
# Arguments: user_id (UUID).
user_deactivated = Signal()

# What a guest did is to become their account's, in a transaction that is not committed yet.
# Arguments: guest_id (UUID).
accounts_merging = Signal()
