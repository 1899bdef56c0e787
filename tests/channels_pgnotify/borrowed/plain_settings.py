"""A Channels project of nothing else, on the database of DATABASE_URL."""

import os
from urllib.parse import unquote, urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])
_database = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": _url.path.lstrip("/"),
    "USER": unquote(_url.username or ""),
    "PASSWORD": unquote(_url.password or ""),
    "HOST": _url.hostname or "",
    "PORT": str(_url.port or ""),
}
DATABASES = {"default": _database, "channels_postgres": _database}
INSTALLED_APPS = ["channels", "channels_postgres"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_pgnotify.PostgresChannelLayer"}}
SECRET_KEY = "borrowed"
USE_TZ = True
