"""People and guests, their sessions and tokens."""

from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Accounts."""

    name = "accounts"

    def ready(self) -> None:
        """Let drf-spectacular find our security scheme, which registers itself."""
        import_module("accounts.rest.schema")
