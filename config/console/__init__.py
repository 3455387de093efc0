"""Django's settings where the operators' console differs from the tenants' side.

The console is a process of its own, with a database role of its own. Browsers send a cookie to every port of its host, so
the names of its cookies, and the key that signs them, are its own too.
"""

from __future__ import annotations

from typing import Any

from config.env import Environment
from config.web import hosts

#: Operators work for half a day; a forgotten browser then asks again.
SESSION_S = 12 * 3600
#: What the description of the API says of tenants' keys alone.
TENANTS_ONLY = ("describe_first_steps",)


#: The settings of the tenants' side that the console changes in part.
CHANGED = ("ACCOUNT_FORMS", "CACHES", "MIDDLEWARE", "SPECTACULAR_SETTINGS", "TEMPLATES")


def overrides(env: Environment, given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings to set in the console's process. `given` are those of the tenants' side, `CHANGED` among them."""
    secure = env.operator_public_url.startswith("https://") if env.tls is None else env.tls
    start = "__Host-" if secure else ""
    middleware = list(given["MIDDLEWARE"])
    middleware[middleware.index("tenants.web.middleware.TenantMiddleware")] = (
        "tenants.operators.middleware.ConsoleMiddleware"
    )
    middleware.insert(
        middleware.index("django.contrib.messages.middleware.MessageMiddleware"),
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    )
    return {
        "CONSOLE": True,
        "ROOT_URLCONF": "config.console.urls",
        "MIDDLEWARE": middleware,
        "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
        "CSRF_TRUSTED_ORIGINS": [hosts.origin(env.operator_public_url)] if env.operator_public_url else [],
        "ACCOUNT_ADAPTER": "tenants.operators.accounts.ConsoleAdapter",
        "ACCOUNT_SESSION_REMEMBER": False,
        "SESSION_ENGINE": "tenants.operators.sessions",
        "SESSION_COOKIE_NAME": f"{start}exchequer-operator",
        "SESSION_COOKIE_AGE": SESSION_S,
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_SAMESITE": "Strict",
        "CSRF_COOKIE_NAME": f"{start}exchequer-operator-csrf",
        "CSRF_COOKIE_SECURE": secure,
        "CSRF_COOKIE_SAMESITE": "Strict",
        "SECURE_HSTS_SECONDS": 31_536_000 if secure else 0,
        # Failures on the tenants' side, which anybody can cause, lock no operator out.
        "CACHES": {"default": {**given["CACHES"]["default"], "KEY_PREFIX": "operator"}},
        "TEMPLATES": [_framed(given["TEMPLATES"][0])],
        # Its other backend is a cookie, whose name both sides would share.
        "MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage",
        "ACCOUNT_FORMS": given["ACCOUNT_FORMS"]
        | {
            "login": "tenants.operators.accounts.LogIn",
            "reauthenticate": "tenants.operators.accounts.Reauthenticated",
            "change_password": "tenants.operators.accounts.ChangedPassword",
        },
        "SPECTACULAR_SETTINGS": _described(given["SPECTACULAR_SETTINGS"]),
        "MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN": not secure,
        "MFA_TOTP_ISSUER": "Exchequer operators",
    }


def _framed(engine: dict[str, Any]) -> dict[str, Any]:
    """Return the template engine with the console's frame in place of an organisation's."""
    options = engine["OPTIONS"]
    processors = [
        "tenants.views.console.frame.frame" if one == "tenants.views.frame" else one
        for one in options["context_processors"]
    ]
    return {**engine, "OPTIONS": {**options, "context_processors": processors}}


def _described(given: dict[str, Any]) -> dict[str, Any]:
    """Return how the console's own API is described."""
    hooks = [hook for hook in given["POSTPROCESSING_HOOKS"] if not hook.endswith(TENANTS_ONLY)]
    return {
        **given,
        "TITLE": "Exchequer, operators' console",
        "DESCRIPTION": "Tenants, ceilings and the fleet, for the organisation that owns the devices.",
        "SCHEMA_PATH_PREFIX": r"/api/operator/v1",
        "POSTPROCESSING_HOOKS": hooks,
        "ENUM_NAME_OVERRIDES": {"StandingEnum": "tenants.access.standing.STANDINGS"},
    }
