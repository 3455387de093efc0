"""The web process. It works as the database role `exchequer_app` and never imports torch."""

from django.core.wsgi import get_wsgi_application

from config.env import use_django_settings

use_django_settings()

application = get_wsgi_application()
