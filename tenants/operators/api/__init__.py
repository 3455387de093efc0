"""The console's API, below /api/operator/v1/, with keys of operators or the console's session."""

from django.urls import URLPattern, path

from tenants.operators.api.approvals import RequestAnswered, Requests
from tenants.operators.api.looks import LookApproved, LookDeclined, LookEnded, LookOpened, Looks, NewLook
from tenants.operators.api.platform import Audit, Me, OneOperatorKey, OperatorKeys, Operators
from tenants.operators.api.tenants import Ceilings, Erase, NewExport, OneTenant, TenantAct, Tenants
from tenants.operators.api.webhooks import (
    EmailChoices,
    OnePlatformWebhook,
    PlatformDeliveries,
    PlatformReplay,
    PlatformWebhooks,
    PlatformWebhookSecret,
    PlatformWebhookTest,
    PlatformWebhookTypes,
)

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("me/", Me.as_view(), name="operator-api-me"),
    path("keys/", OperatorKeys.as_view(), name="operator-api-keys"),
    path("keys/<uuid:key_id>/", OneOperatorKey.as_view(), name="operator-api-key"),
    path("operators/", Operators.as_view(), name="operator-api-operators"),
    path("audit/", Audit.as_view(), name="operator-api-audit"),
    path("notifications/", EmailChoices.as_view(), name="operator-api-notifications"),
    path("webhooks/", PlatformWebhooks.as_view(), name="operator-api-webhooks"),
    path("webhooks/types/", PlatformWebhookTypes.as_view(), name="operator-api-webhook-types"),
    path("webhooks/<uuid:webhook_id>/", OnePlatformWebhook.as_view(), name="operator-api-webhook"),
    path("webhooks/<uuid:webhook_id>/secret/", PlatformWebhookSecret.as_view(), name="operator-api-webhook-secret"),
    path("webhooks/<uuid:webhook_id>/test/", PlatformWebhookTest.as_view(), name="operator-api-webhook-test"),
    path("webhooks/<uuid:webhook_id>/deliveries/", PlatformDeliveries.as_view(), name="operator-api-deliveries"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/",
        PlatformReplay.as_view(),
        name="operator-api-replay",
    ),
    path("tenants/", Tenants.as_view(), name="operator-api-tenants"),
    path("tenants/<uuid:tenant_id>/", OneTenant.as_view(), name="operator-api-tenant"),
    path("tenants/<uuid:tenant_id>/quotas/", Ceilings.as_view(), name="operator-api-quotas"),
    path("tenants/<uuid:tenant_id>/break-glass/", NewLook.as_view(), name="operator-api-look-new"),
    path("approvals/", Requests.as_view(), name="operator-api-approvals"),
    path(
        "approvals/<uuid:approval_id>/approve/",
        RequestAnswered.as_view(granted=True),
        name="operator-api-approval-approve",
    ),
    path("approvals/<uuid:approval_id>/decline/", RequestAnswered.as_view(), name="operator-api-approval-decline"),
    path("looks/", Looks.as_view(), name="operator-api-looks"),
    path("looks/<uuid:look_id>/approve/", LookApproved.as_view(), name="operator-api-look-approve"),
    path("looks/<uuid:look_id>/decline/", LookDeclined.as_view(), name="operator-api-look-decline"),
    path("looks/<uuid:look_id>/open/", LookOpened.as_view(), name="operator-api-look-open"),
    path("looks/<uuid:look_id>/end/", LookEnded.as_view(), name="operator-api-look-end"),
    path("tenants/<uuid:tenant_id>/export/", NewExport.as_view(), name="operator-api-export"),
    path("tenants/<uuid:tenant_id>/erase/", Erase.as_view(), name="operator-api-erase"),
    *(
        path(f"tenants/<uuid:tenant_id>/{act}/", TenantAct.as_view(act=act), name=f"operator-api-{act}")
        for act in ("suspend", "resume", "close", "restore")
    ),
]
