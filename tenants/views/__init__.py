"""Pages of the tenancy room: the entrance, audit log, settings, errors, and what every page's frame needs."""

from django.urls import URLPattern, path

from tenants.views.audit import audit_log, audit_verified
from tenants.views.entrance import entrance
from tenants.views.errors import (
    bad_request,
    csrf_failure,
    error_page,
    forbidden,
    not_found,
    server_error,
)
from tenants.views.frame import frame
from tenants.views.preferences import create_key, revoke_key, settings

__all__ = [
    "bad_request",
    "csrf_failure",
    "entrance",
    "error_page",
    "forbidden",
    "frame",
    "not_found",
    "server_error",
    "urlpatterns",
]

urlpatterns: list[URLPattern] = [
    path("audit/", audit_log, name="audit"),
    path("audit/verified/", audit_verified, name="audit-verified"),
    path("settings/", settings, name="settings"),
    path("settings/keys/", create_key, name="api-key-create"),
    path("settings/keys/<uuid:key_id>/revoke/", revoke_key, name="api-key-revoke"),
]
