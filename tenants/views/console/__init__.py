"""Pages of the operators' console: tenants, operators, their log, webhooks, emails, and the frame around them."""

from django.urls import URLPattern, path

from tenants.views.console.approvals import approval_answer, approvals_page
from tenants.views.console.log import log_page, log_review
from tenants.views.console.looks import look_answer, look_end, look_new, look_open, looks_page
from tenants.views.console.platform import home_page, key_revoke, keys_page, mail_page, operators_page
from tenants.views.console.tenants import (
    ceiling_set,
    new_tenant,
    owner_invite,
    tenant_act,
    tenant_erase,
    tenant_page,
    tenants_page,
)
from tenants.views.console.webhooks import (
    emails_page,
    webhook_change,
    webhook_delete,
    webhook_page,
    webhook_replay,
    webhook_rotate,
    webhook_test,
    webhooks_page,
)

urlpatterns: list[URLPattern] = [
    path("", home_page, name="entrance"),
    path("tenants/", tenants_page, name="operator-tenants"),
    path("tenants/new/", new_tenant, name="operator-tenant-new"),
    path("tenants/<uuid:tenant_id>/", tenant_page, name="operator-tenant"),
    path("tenants/<uuid:tenant_id>/owner/", owner_invite, name="operator-owner"),
    path("tenants/<uuid:tenant_id>/ceilings/", ceiling_set, name="operator-ceiling"),
    path("tenants/<uuid:tenant_id>/look-inside/", look_new, name="operator-look-new"),
    path("tenants/<uuid:tenant_id>/erase/", tenant_erase, name="operator-erase"),
    path("tenants/<uuid:tenant_id>/<slug:act>/", tenant_act, name="operator-tenant-act"),
    path("approvals/", approvals_page, name="operator-approvals"),
    path("approvals/<uuid:approval_id>/answer/", approval_answer, name="operator-approval-answer"),
    path("looks/", looks_page, name="operator-looks"),
    path("looks/<uuid:look_id>/open/", look_open, name="operator-look-open"),
    path("looks/<uuid:look_id>/end/", look_end, name="operator-look-end"),
    path("looks/<uuid:look_id>/answer/", look_answer, name="operator-look-answer"),
    path("operators/", operators_page, name="operators"),
    path("keys/", keys_page, name="operator-keys"),
    path("keys/<uuid:key_id>/revoke/", key_revoke, name="operator-key-revoke"),
    path("webhooks/", webhooks_page, name="operator-webhooks"),
    path("webhooks/<uuid:webhook_id>/", webhook_page, name="operator-webhook"),
    path("webhooks/<uuid:webhook_id>/change/", webhook_change, name="operator-webhook-change"),
    path("webhooks/<uuid:webhook_id>/secret/", webhook_rotate, name="operator-webhook-rotate"),
    path("webhooks/<uuid:webhook_id>/test/", webhook_test, name="operator-webhook-test"),
    path("webhooks/<uuid:webhook_id>/delete/", webhook_delete, name="operator-webhook-delete"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/",
        webhook_replay,
        name="operator-webhook-replay",
    ),
    path("notifications/", emails_page, name="operator-emails"),
    path("log/", log_page, name="operator-acts"),
    path("log/review/", log_review, name="operator-log-review"),
    path("mail/", mail_page, name="operator-mail"),
]
