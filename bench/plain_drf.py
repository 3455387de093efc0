"""The peer of G-h1, and the project of the peer of G-b1 and G-b2: the same small view in plain Django REST framework, with token authentication and no tenancy.

Settings of a new project, DRF's own token model in a schema of its own, no row security. Nothing of the product runs here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from psycopg.conninfo import conninfo_to_dict

SCHEMA = "bench_plain"


def application(*, apps: Sequence[str] = (), urls: str = __name__) -> WSGIHandler:
    """Configure the project, with more apps and other routes if given, and return its WSGI application."""
    parts = conninfo_to_dict(os.environ["DATABASE_OWNER_URL"])
    settings.configure(
        SECRET_KEY="a secret key for benchmarks",  # noqa: S106 (known to everybody)
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=urls,
        USE_TZ=True,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "rest_framework",
            "rest_framework.authtoken",
            *apps,
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts["dbname"],
                "USER": parts["user"],
                "PASSWORD": parts.get("password", ""),
                "HOST": parts["host"],
                "PORT": str(parts.get("port", "")),
                "CONN_MAX_AGE": None,
                "ATOMIC_REQUESTS": True,
                "OPTIONS": {"options": f"-c search_path={SCHEMA}"},
            }
        },
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        },
    )
    import django

    django.setup()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def token() -> str:
    """Create the peer's tables, a user and a token; return the token."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0, interactive=False, run_syncdb=True)
    user = User.objects.create_user("bench", "bench@example.org", None)
    return str(Token.objects.create(user=user).key)


def __getattr__(name: str) -> Any:
    """Return the routes, which can be imported only once the settings are there."""
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.urls import path
    from rest_framework import serializers
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class MeSerializer(serializers.Serializer[Any]):
        tenant = serializers.DictField()
        actor = serializers.DictField()
        role = serializers.CharField()
        scopes = serializers.ListField(child=serializers.CharField())

    class Me(APIView):
        def get(self, request: Request) -> Response:
            user = request.user
            answer = {
                "tenant": {"id": 1, "slug": "bench", "name": "Bench", "timezone": "UTC", "currency": "EUR"},
                "actor": {"kind": "api_key", "id": user.pk, "label": user.get_username()},
                "role": "key",
                "scopes": ["tenant.view"],
            }
            return Response(MeSerializer(answer).data)

    return [path("api/v1/me/", Me.as_view())]
