"""Chatire's own settings with what a test run needs instead of a deployment's environment."""

import os

# `make test` sets the real one; type checkers load the settings without a database.
os.environ.setdefault("DATABASE_URL", "postgresql://localhost/chatire")
os.environ.setdefault("CHATIRE_ENV", "development")
os.environ.setdefault("SECRET_KEY", "tests-only-key-that-signs-nothing-of-value-0123456789")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,localhost,127.0.0.1")
os.environ.setdefault("OPENAI_API_KEY", "test-key")
os.environ.setdefault("LOG_LEVEL", "WARNING")

from chatire.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# The test run's own database is chosen late, so the layer must ask Django for it.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_pgnotify.PostgresChannelLayer",
        "CONFIG": {"gap_type": "layer.gap"},
    }
}

# No collected static files here, and none needed.
WHITENOISE_AUTOREFRESH = True
