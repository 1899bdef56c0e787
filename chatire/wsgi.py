"""The `web` process: REST, admin and the single-page application under Gunicorn."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from chatire.metrics import with_metrics_port

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatire.settings")
application = with_metrics_port(get_wsgi_application(), settings.WEB_METRICS_PORT)
