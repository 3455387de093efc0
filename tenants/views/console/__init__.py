"""Pages of the operators' console: tenants, operators, their log, emails, and the frame around them."""

from django.urls import URLPattern, path

from tenants.views.console.approvals import approval_answer, approvals_page
from tenants.views.console.looks import look_answer, look_end, look_new, look_open, looks_page
from tenants.views.console.platform import home_page, key_revoke, keys_page, log_page, mail_page, operators_page
from tenants.views.console.tenants import (
    ceiling_set,
    new_tenant,
    owner_invite,
    tenant_act,
    tenant_erase,
    tenant_page,
    tenants_page,
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
    path("log/", log_page, name="operator-acts"),
    path("mail/", mail_page, name="operator-mail"),
]
