"""The `web` process: REST, admin and the single-page application under Gunicorn."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from core.metrics import with_metrics_port
from core.tuning import avoid_pauses

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatire.settings")
application = with_metrics_port(get_wsgi_application(), settings.WEB_METRICS_PORT)
# Django would load the views at the first request, which would wait for them.
_ = get_resolver().url_patterns
avoid_pauses()
