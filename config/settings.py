"""Django's settings, all derived from `config.env`."""

import sys
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONCE, NONE, SELF
from psycopg.conninfo import conninfo_to_dict

from config import console, node_settings, periodic
from config import logging as structured_logging
from config.demo import organisations
from config.env import load_once
from config.mail import mail_settings
from config.web import hosts

django_stubs_ext.monkeypatch()
EXCHEQUER = env = load_once()
BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = env.secret_key
DEBUG = env.debug
ALLOWED_HOSTS = [host.strip() for host in env.allowed_hosts.split(",") if host.strip()]
CSRF_TRUSTED_ORIGINS = [origin.strip() for origin in env.csrf_trusted_origins.split(",") if origin.strip()]
if env.own_public_url:
    ALLOWED_HOSTS.append(hosts.of(env.own_public_url)[0])
    CSRF_TRUSTED_ORIGINS.append(hosts.origin(env.own_public_url))
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
# Object permissions are checked by queries, not by a backend; an address is unique on its side, and each sees its own.
SILENCED_SYSTEM_CHECKS = ["guardian.W001", "auth.W004"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django_linear_migrations",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "guardian",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "tenants",
    "billing",
    "compute",
    "models_app",
    "dashboards",
    "config",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.statics.Middleware",
    "config.monitoring.http_metrics.TrafficMiddleware",
    "tenants.web.middleware.RequestContextMiddleware",
    "config.web.hosts.HostMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "tenants.web.middleware.TenantMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "tenants.views.frame",
            ],
        },
    }
]


def database(url: str) -> dict[str, Any]:
    """Turn a libpq URL, socket folders included, into Django's dictionary."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    known = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{django: parts.pop(libpq, "") for libpq, django in known.items()},
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5, "application_name": f"exchequer-{env.db_role}", **parts},
    }


DATABASES = {"default": database(env.database_url(env.db_role))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["tenants.identity.sessions.PreloadedBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTH_PASSWORD_VALIDATORS[1]["OPTIONS"] = {"min_length": 12}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
#: Shared by everybody in the demo, printed at its start; it does not work if other machines can reach the web server.
PUBLISHED_PASSWORD = organisations.PASSWORD
ACCOUNT_ADAPTER = "tenants.identity.account_adapter.AccountAdapter"
MFA_ADAPTER = "tenants.identity.second_factor.SecondFactorAdapter"
MFA_TOTP_ISSUER = "Exchequer"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not env.effective_tls
ACCOUNT_FORMS = {
    "login": "tenants.identity.account_forms.LogIn",
    "reset_password": "tenants.identity.account_forms.ForgottenPassword",
    "reset_password_from_key": "tenants.identity.account_forms.ChosenPassword",
    "change_password": "tenants.identity.account_forms.ChangedPassword",
    "set_password": "tenants.identity.account_forms.FirstPassword",
}
MFA_FORMS = {
    "authenticate": "tenants.identity.account_forms.Code",
    "reauthenticate": "tenants.identity.account_forms.CodeAgain",
    "authenticate_webauthn": "tenants.identity.account_forms.Passkey",
    "reauthenticate_webauthn": "tenants.identity.account_forms.PasskeyAgain",
}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # we email nobody whom no organisation named
# The key of login_failed is account and client address: fewer than ten addresses lock nobody out; a known device has its
# own limit (tenants/identity/known_devices.py). A reset link lives an hour, so the emails to one address are few.
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "5/5m/key",
    "login_failed_anywhere": "600/h/key",
    "login_failed_known": "30/h/key",
    "reset_password": "20/m/ip,5/h/key",
    "provider_log_in": "120/m/ip",
}
PASSWORD_RESET_TIMEOUT = 3600
# allauth's own adds a second row of addresses at each link, which accounts here do not have.
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105 (a class)

SESSION_ENGINE = "tenants.identity.sessions"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
SESSION_COOKIE_NAME = "__Host-exchequer" if env.effective_tls else "exchequer"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.effective_tls
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "tenants.views.csrf_failure"
SECURE_HSTS_SECONDS = 31536000 if env.effective_tls else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Login limits are counted here, so the table is in PostgreSQL: flushing the broker resets nothing.
CACHES = {"default": {"BACKEND": "tenants.web.json_cache.JsonCache", "LOCATION": "tenants_ratelimit"}}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.statics.Storage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 30 * 24 * 3600  # URLs change with the content

DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
FILE_UPLOAD_HANDLERS = [
    "models_app.datasets.uploads.CappedUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

GUARDIAN_MONKEY_PATCH_USER = False
ANONYMOUS_USER_NAME = None

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.identity.authentication.ActorAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.identity.authentication.DeclaredPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["tenants.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "tenants.web.problems.exception_handler",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Exchequer",
    "DESCRIPTION": "Multi-tenant machine learning on one pool of devices, metered by the second.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "tenants.web.openapi.describe_refusals",
        "tenants.web.openapi.describe_bodies",
        "tenants.web.openapi.describe_idempotency",
        "tenants.web.openapi.describe_paging",
        "tenants.web.openapi.describe_operations",
        "tenants.web.openapi.describe_first_steps",
    ],
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_NAME_OVERRIDES": {
        "JobStateEnum": "compute.api.serializers.STATES",
        "GivenRoleEnum": "tenants.models.GIVEN_ROLES",
    },
}

CELERY_BROKER_URL, CELERY_BROKER_CONNECTION_MAX_RETRIES = env.broker_url, None
CELERY_TASK_IGNORE_RESULT = CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE, CELERY_TIMEZONE = "ops", "UTC"
CELERY_WORKER_PREFETCH_MULTIPLIER, CELERY_WORKER_PROC_ALIVE_TIMEOUT = 1, 30.0
CELERY_TASK_ACKS_LATE = CELERY_WORKER_HIJACK_ROOT_LOGGER = CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "socket_keepalive": True,
}
if env.node_secret and env.broker_url.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS |= node_settings.broker_options(env.effective_node_id)
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1}
CELERY_DB_REUSE_MAX = sys.maxsize  # `config.celery` closes connections: logging in takes longer than most tasks
CELERY_BEAT_SCHEDULE = periodic.SCHEDULE

CONSOLE = False  # this process serves the tenants; `config.console` sets it for the operators' side
if env.db_role == "operator":
    globals().update(console.overrides(env, globals()))

globals().update(mail_settings(env.email_url, env.home))  # EMAIL_BACKEND, EMAIL_HOST and the rest
LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = structured_logging.config(debug=env.debug)
