"""Every setting of the installation, parsed strictly from the environment.

`docs/settings.md` documents each variable; a production process refuses to start on a
missing secret, a default key or DEBUG (see `chatire.environment`).
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from chatire.environment import Environment, require
from chatire.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)

# --- Environment -----------------------------------------------------------------------------

ENVIRONMENT = env.choice("CHATIRE_ENV", "production", ("production", "development"))
PRODUCTION = ENVIRONMENT == "production"

DEBUG = env.switch("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY", default="")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS")
require(bool(SECRET_KEY), "Set SECRET_KEY: a random string of 50 characters or more.")
if PRODUCTION:
    require(not DEBUG, "DEBUG must be off in production.")
    require(
        len(SECRET_KEY) >= 32 and "insecure" not in SECRET_KEY and "change" not in SECRET_KEY,
        "SECRET_KEY is too short or a placeholder; use 50 random characters.",
    )
    require(
        bool(ALLOWED_HOSTS) and "*" not in ALLOWED_HOSTS,
        "Set ALLOWED_HOSTS to the host names this installation answers to.",
    )

# --- Applications ----------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "channels_postgres",
    "procrastinate.contrib.django",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "corsheaders",
    "django_structlog",
    "chatire",
    "accounts",
    "notifications",
    "chat",
]

MIDDLEWARE = [
    "core.health.HealthMiddleware",
    "core.metrics.MetricsMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "core.errors.DatabaseDownMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "chatire.urls"
WSGI_APPLICATION = "chatire.wsgi.application"
ASGI_APPLICATION = "chatire.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database and channel layer --------------------------------------------------------------

require("DATABASE_URL" in env, "Set DATABASE_URL: postgresql://user:password@host/name.")
# Behind a transaction-mode PgBouncer only from its version 1.22 on, and with libpq 17.
PREPARED_STATEMENTS = env.switch("DATABASE_PREPARE", default="DATABASE_DIRECT_URL" not in env)
_DATABASE = env.postgres("DATABASE_URL")
DATABASES = {
    "default": {
        **_DATABASE,
        "CONN_MAX_AGE": env.whole("DATABASE_CONN_MAX_AGE", default=600),  # seconds
        "CONN_HEALTH_CHECKS": True,
        # Behind a transaction-mode PgBouncer, server-side cursors cannot be used.
        "DISABLE_SERVER_SIDE_CURSORS": "DATABASE_DIRECT_URL" in env,
        "OPTIONS": {
            **_DATABASE.get("OPTIONS", {}),
            "server_side_binding": True,
            # A statement's third use on a connection, and every later one, is neither parsed nor
            # planned: that is half of what PostgreSQL does for a message.
            "prepare_threshold": 2 if PREPARED_STATEMENTS else None,
        },
    }
}
# Threads, and so connections, that one socket process reads and writes with.
DB_THREADS = env.whole("DB_THREADS", default=8, least=1)
# LISTEN needs a session of its own: behind a transaction-mode PgBouncer, this is the way past it.
DIRECT_DATABASE: dict[str, Any] | None = (
    env.postgres("DATABASE_DIRECT_URL") if "DATABASE_DIRECT_URL" in env else None
)

# Where Redis or Valkey carries the events instead of Postgres.
REDIS_HOSTS = env.redis("CHANNEL_LAYER_URL")
CHANNEL_LAYER_CAPACITY = env.whole("CHANNEL_LAYER_CAPACITY", default=1000, least=1)
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_pgnotify.PostgresChannelLayer",
        "CONFIG": {
            # Without a direct URL the layer connects as the default database does.
            **(DIRECT_DATABASE or {}),
            "gap_type": "layer.gap",
            "capacity": CHANNEL_LAYER_CAPACITY,
        },
    }
}
if REDIS_HOSTS:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "core.redis_layer.RedisChannelLayer",
        "CONFIG": {
            "hosts": REDIS_HOSTS,
            "gap_type": "layer.gap",
            "capacity": CHANNEL_LAYER_CAPACITY,
        },
    }

PROCRASTINATE_WORKER_DEFAULTS = {"delete_jobs": "successful"}

# A proxy that ends TLS in front of us; see also NUM_PROXIES.
BEHIND_TLS_PROXY = env.switch("BEHIND_TLS_PROXY", default=False)

# --- Accounts and tokens ---------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.EmailOrUsernameBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(
        seconds=env.whole("ACCESS_TOKEN_SECONDS", default=900, least=1)
    ),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.whole("REFRESH_TOKEN_DAYS", default=30, least=1)),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "UPDATE_LAST_LOGIN": False,
    "SIGNING_KEY": env.text("JWT_SIGNING_KEY", default=SECRET_KEY),
    "USER_ID_CLAIM": "user_id",
}
GUESTS_ALLOWED = env.switch("GUESTS_ALLOWED", default=True)
REGISTRATION_OPEN = env.switch("REGISTRATION_OPEN", default=True)

# --- REST ------------------------------------------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes of a request body
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.SessionJWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.ScopedRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "auth": env.rate("THROTTLE_AUTH", default="30/min"),
        "guest": env.rate("THROTTLE_GUEST", default="30/min"),
        "preview": env.rate("THROTTLE_PREVIEW", default="30/min"),
    },
    # Throttles count by address: of X-Forwarded-For, only what our own proxies wrote is believed.
    "NUM_PROXIES": env.whole("NUM_PROXIES", default=int(BEHIND_TLS_PROXY)),
    "EXCEPTION_HANDLER": "core.rest.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Chatire",
    "VERSION": "1",
    "DESCRIPTION": "Self-hosted chat for people and LLM assistants.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api",
    # The protocol's states are pydantic models, whose null types 3.0 cannot express.
    "OAS_VERSION": "3.1.0",
    "ENUM_NAME_OVERRIDES": {
        "KindEnum": ["assistant", "direct", "group", "forum", "discussion", "thread"],
        "TokenKindEnum": ["access", "refresh"],
        "MemberRoleEnum": ["owner", "admin", "moderator", "member", "guest"],
        "AccessEnum": ["open", "listed", "private"],
        "SpeakerEnum": ["user", "assistant", "system"],
        "NamedEnum": ["user", "assistant", "group", "all"],
    },
}

# --- Browsers --------------------------------------------------------------------------------

# Origins of other sites whose pages may call the API and open sockets; our own always may.
ALLOWED_ORIGINS = env.items("ALLOWED_ORIGINS")
CORS_ALLOWED_ORIGINS = ALLOWED_ORIGINS
CSRF_TRUSTED_ORIGINS = ALLOWED_ORIGINS
# Where browsers find the socket server; empty means the page's own host on WS_PORT.
WS_PUBLIC_URL = env.text("WS_PUBLIC_URL", default="")
WS_PORT = env.whole("WS_PORT", default=8081)

# Left off by default in production too: TLS usually ends at the proxy in front.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS_PROXY else None
SECURE_SSL_REDIRECT = env.switch("SECURE_SSL_REDIRECT", default=False)
SECURE_HSTS_SECONDS = env.whole("SECURE_HSTS_SECONDS", default=0)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS_PROXY

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
FRONTEND_DIST = BASE_DIR / "frontend" / "dist"
# The built single-page application. What has a hash in its name never changes: its own assets,
# and those of Django's apps once they are collected.
WHITENOISE_ROOT = FRONTEND_DIST if FRONTEND_DIST.is_dir() else None
WHITENOISE_INDEX_FILE = True
WHITENOISE_IMMUTABLE_FILE_TEST = r"^/assets/.+-[\w-]{8,}\.\w+$|^/static/.+\.[0-9a-f]{12}\.\w+$"

# --- Models and replies ----------------------------------------------------------------------

OPENAI_BASE_URL = env.text("OPENAI_BASE_URL", default="")
# Whether that server goes on with an assistant's turn that is left open.
OPENAI_OPEN_TURNS = env.switch("OPENAI_OPEN_TURNS", default=False)
DEFAULT_MODEL = env.text("CHATIRE_MODEL", default="gpt-4o-mini")
# Whether `manage.py setup` makes an assistant where there is none.
FIRST_ASSISTANT = env.switch("FIRST_ASSISTANT", default=True)
# Days that former wordings of messages are kept for moderators; 0: not at all.
REVISIONS_KEPT = env.whole("REVISIONS_KEPT", default=30)
# Tokens of history given to a model that does not say otherwise.
CONTEXT_TOKENS = env.whole("CHATIRE_CONTEXT_TOKENS", default=8000, least=1)
MAX_REPLY_TOKENS = env.whole("CHATIRE_MAX_REPLY_TOKENS", default=2048, least=1)
REPLY_TIMEOUTS = {  # seconds
    "connect": env.number("REPLY_TIMEOUT_CONNECT", default=10.0),
    "first_token": env.number("REPLY_TIMEOUT_FIRST_TOKEN", default=60.0),
    "idle": env.number("REPLY_TIMEOUT_IDLE", default=30.0),
    "total": env.number("REPLY_TIMEOUT_TOTAL", default=600.0),
}
WORKER_CONCURRENCY = env.whole("WORKER_CONCURRENCY", default=250, least=1)
# Seconds that replies have to end at SIGTERM before they are handed back to the queue.
WORKER_DRAIN_SECONDS = env.number("WORKER_DRAIN_SECONDS", default=20.0)
# Seconds over which a socket process sends its clients away at SIGTERM.
WS_DRAIN_SECONDS = env.number("WS_DRAIN_SECONDS", default=5.0)
# Whose presence people see: everyone's, that of whom they share a conversation with, nobody's.
PRESENCE_VISIBLE = env.choice("PRESENCE_VISIBLE", "everyone", ("everyone", "shared", "nobody"))
# Where the worker answers /health/ and /metrics; the Procfile's other processes bind to it too.
BIND_HOST = env.text("CHATIRE_BIND", default="0.0.0.0")  # noqa: S104
WORKER_HEALTH_PORT = env.whole("WORKER_HEALTH_PORT", default=8082)
# Where `web` answers /metrics, and nothing else; its public port does not.
WEB_METRICS_PORT = env.whole("WEB_METRICS_PORT", default=8083)

# --- E-mail, notifications -------------------------------------------------------------------

EMAIL_CONFIG = env.email("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", default="chatire@localhost")

# --- Logs ------------------------------------------------------------------------------------

LOG_FORMAT = env.choice("LOG_FORMAT", "json" if PRODUCTION else "console", ("json", "console"))
LOG_LEVEL = env.level("LOG_LEVEL", default="INFO")
LOGGING = logging_config(LOG_FORMAT, LOG_LEVEL)
LOGGING_CONFIG = "chatire.logs.configure"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Hashed names only where collectstatic has run.
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
