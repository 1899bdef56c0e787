"""The `web` process: REST, admin and the single-page application under Gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatire.settings")
application = get_wsgi_application()
