"""The least a Channels project needs: the layer's bench runs in no app of Chatire's."""

import os
from urllib.parse import unquote, urlsplit

_url = urlsplit(os.environ.get("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.lstrip("/"),
        "USER": unquote(_url.username or ""),
        "PASSWORD": unquote(_url.password or ""),
        "HOST": _url.hostname or "",
        "PORT": str(_url.port or ""),
    }
}
DATABASES["channels_postgres"] = DATABASES["default"]
INSTALLED_APPS = ["channels", "channels_postgres"]
SECRET_KEY = "bench"
USE_TZ = True
