"""The web process (gunicorn l2l.wsgi)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "l2l.settings")
application = get_wsgi_application()
