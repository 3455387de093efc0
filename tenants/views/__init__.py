"""Pages of the tenants app: people, projects, quotas, keys, audit log, settings, errors, and the frame of every page."""

from django.urls import URLPattern, path

from tenants.views import access, providers, webhooks
from tenants.views.accept_invitation import join
from tenants.views.api_keys import api_keys, create_key, revoke_key, rotate_key
from tenants.views.approvals import access_request, approval_answer, approvals_page, quota_request
from tenants.views.audit import audit_export, audit_log, audit_review, audit_verified
from tenants.views.errors import (
    bad_request,
    csrf_failure,
    error_page,
    forbidden,
    not_found,
    server_error,
    too_many,
)
from tenants.views.looks import look_leave, look_open
from tenants.views.members import invitation_revoke, invite, member_remove, member_role, members
from tenants.views.navigation import frame
from tenants.views.notifications import notification_choices, notification_open, notifications_page, notifications_read
from tenants.views.projects import create_project, project_archive, project_change, project_page, projects
from tenants.views.providers.log_in import find_provider
from tenants.views.quotas import quota_change, quotas_page
from tenants.views.settings import organisation, settings, sign_out
from tenants.views.sharing import share, unshare
from tenants.views.tenant_picker import pick_tenant

__all__ = [
    "bad_request",
    "csrf_failure",
    "error_page",
    "find_provider",
    "forbidden",
    "frame",
    "join",
    "look_leave",
    "look_open",
    "not_found",
    "pick_tenant",
    "server_error",
    "too_many",
    "urlpatterns",
]

urlpatterns: list[URLPattern] = [
    path("audit/", audit_log, name="audit"),
    path("audit/export/", audit_export, name="audit-export"),
    path("audit/review/", audit_review, name="audit-review"),
    path("audit/verified/", audit_verified, name="audit-verified"),
    path("settings/", settings, name="settings"),
    path("settings/sign-out/", sign_out, name="sign-out"),
    path("settings/organisation/", organisation, name="organisation"),
    *providers.urlpatterns,
    path("members/", members, name="members"),
    path("members/invite/", invite, name="member-invite"),
    path("members/<uuid:user_id>/role/", member_role, name="member-role"),
    path("members/<uuid:user_id>/remove/", member_remove, name="member-remove"),
    path("members/invitations/<uuid:invitation_id>/revoke/", invitation_revoke, name="invitation-revoke"),
    *access.urlpatterns,
    *webhooks.urlpatterns,
    path("projects/", projects, name="projects"),
    path("projects/new/", create_project, name="project-create"),
    path("projects/<uuid:project_id>/", project_page, name="project"),
    path("projects/<uuid:project_id>/change/", project_change, name="project-change"),
    path("projects/<uuid:project_id>/archive/", project_archive, name="project-archive"),
    path("shares/<slug:kind>/<uuid:object_id>/", share, name="share"),
    path("shares/<slug:kind>/<uuid:object_id>/<uuid:holder_id>/end/", unshare, name="unshare"),
    path("quotas/", quotas_page, name="quotas"),
    path("quotas/change/", quota_change, name="quota-change"),
    path("approvals/", approvals_page, name="approvals"),
    path("approvals/quota/", quota_request, name="quota-request"),
    path("approvals/access/", access_request, name="access-request"),
    path("approvals/<uuid:approval_id>/answer/", approval_answer, name="approval-answer"),
    path("api-keys/", api_keys, name="api-keys-page"),
    path("api-keys/new/", create_key, name="api-key-create"),
    path("api-keys/<uuid:key_id>/revoke/", revoke_key, name="api-key-revoke"),
    path("api-keys/<uuid:key_id>/rotate/", rotate_key, name="api-key-rotate"),
    path("notifications/", notifications_page, name="notifications"),
    path("notifications/choices/", notification_choices, name="notification-choices"),
    path("notifications/read/", notifications_read, name="notifications-read"),
    path("notifications/<uuid:notification_id>/", notification_open, name="notification-open"),
]
