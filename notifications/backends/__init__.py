"""Delivery backends: when and where a channel's payloads are handed to their providers."""

from notifications.backends.base import BaseBackend
from notifications.backends.procrastinate import ProcrastinateBackend
from notifications.backends.synchronous import SynchronousBackend

__all__ = [
    "BaseBackend",
    "Procrastinate",
    "ProcrastinateBackend",
    "Synchronous",
    "SynchronousBackend",
]

# django-notifs' way of naming them in NOTIFICATIONS_DELIVERY_BACKEND.
Procrastinate = ProcrastinateBackend
Synchronous = SynchronousBackend
