"""The web process. It works as the database role `exchequer_app` and never imports torch."""

from django.core.wsgi import get_wsgi_application

from config.env import load_once, use_django_settings
from config.proxies import TrustedProxies, trusted

use_django_settings()

application = TrustedProxies(get_wsgi_application(), trusted(load_once().trusted_proxies))
