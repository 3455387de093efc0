"""What webhooks receive: every type arrives, and none holds a name or a text."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing import events as billing
from compute import events as compute
from models_app import events as models_app
from models_app.models import Dataset, Endpoint, HealthAlert, Schedule
from tenants import quotas
from tenants.approvals import approvals, quota_requests
from tenants.audit import checkpoints
from tenants.events import events, outbox
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditCheckpoint, Tenant, WebhookDelivery
from tenants.webhooks import catalogue
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.servers.services import S3

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]
HIDDEN = "Unannounced"


def subscribed(tenant: Tenant, *types: str) -> None:
    """Create a webhook for these types, or all, by the API."""
    key = factories.make_api_key(tenant)
    given = {"name": "all", "url": "https://hooks.example/", "types": types or [one.name for one in catalogue.types()]}
    answer = Client().post(
        "/api/v1/webhooks/", json.dumps(given), "application/json", headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 201, answer.content


def drain(tenant: Tenant, as_control: Control) -> None:
    """Deliver what waits in the outbox, as the ops worker does."""
    with as_control():
        outbox.drain(tenant.id)


def sent(tenant: Tenant, as_control: Control) -> list[dict[str, Any]]:
    """Deliver what waits in the outbox and return the bodies for the webhook, oldest first."""
    drain(tenant, as_control)
    with tenant_scope(tenant.id):
        rows = WebhookDelivery.objects.filter(webhook__name="all").order_by("id").values_list("body", flat=True)
        return [json.loads(text) for text in rows]


def test_every_type_is_sent_and_none_holds_a_name(as_control: Control) -> None:
    tenant = factories.make_tenant("ours")
    ids = one_of_everything(tenant)
    drain(tenant, as_control)
    subscribed(tenant)
    of = {"tenant_id": tenant.id}
    with tenant_scope(tenant.id):
        Dataset.objects.filter(id=ids["dataset_id"]).update(name=HIDDEN, restricted=True)
        Endpoint.objects.filter(id=ids["endpoint_id"]).update(name=HIDDEN.lower())
        Schedule.objects.filter(id=ids["schedule_id"]).update(name=HIDDEN)
        alert = HealthAlert.objects.create(
            endpoint_id=ids["endpoint_id"], version_id=ids["version_id"], kind="drift", subject=HIDDEN, value=1,
            threshold=0.2, message=f"{HIDDEN} has drifted",
        )  # fmt: skip
        happened = [
            *(
                compute.JobEnded(**of, job_id=ids["job_id"], state=one, cause="")
                for one in ("succeeded", "failed", "cancelled")
            ),
            compute.JobStarted(**of, job_id=ids["job_id"]),
            compute.JobSetEnded(**of, set_id=ids["job_set_id"], state="failed", jobs={"failed": 2}),
            compute.JobIdle(
                **of,
                job_id=ids["job_id"],
                idle_since="2026-11-01T10:00:00+00:00",
                stops_at="2026-11-01T11:00:00+00:00",
                lost=Decimal(1),
                per_hour=Decimal(2),
                currency="EUR",
            ),
            billing.BudgetThresholdReached(
                **of,
                budget_id=ids["budget_id"],
                period="2026-11-01",
                percent=80,
                spent=Decimal(8),
                limit=Decimal(10),
                currency="EUR",
            ),
            billing.UsageWaived(**of, attempt_id=ids["job_id"], amount=Decimal(1), currency="EUR", reason=HIDDEN),
            billing.InvoiceFinalised(
                **of,
                invoice_id=ids["invoice_id"],
                number="INV-000001",
                period="2026-11-01",
                total=Decimal(1),
                currency="EUR",
                due_on="2026-12-31",
            ),
            billing.InvoiceVoided(**of, invoice_id=ids["invoice_id"], number="INV-000001", reason=HIDDEN),
            billing.InvoiceCredited(
                **of,
                invoice_id=ids["invoice_id"],
                number="CN-000001",
                total=Decimal(1),
                currency="EUR",
                reason=HIDDEN,
            ),
            billing.InvoiceDisputed(
                **of,
                invoice_id=ids["invoice_id"],
                dispute_id=ids["dispute_id"],
                line=1,
                side="seller",
                state="agreed",
            ),
            billing.InvoicePaid(
                **of,
                invoice_id=ids["invoice_id"],
                number="INV-000001",
                amount=Decimal(1),
                due=Decimal(0),
                currency="EUR",
            ),
            billing.PaymentReversed(
                **of,
                invoice_id=ids["invoice_id"],
                number="INV-000001",
                amount=Decimal(1),
                due=Decimal(1),
                currency="EUR",
            ),
            models_app.DatasetVersionReady(**of, dataset_id=ids["dataset_id"], version_id=ids["data_version_id"]),
            models_app.ModelVersionRegistered(
                **of, model_id=ids["model_id"], version_id=ids["version_id"], job_id=ids["job_id"]
            ),
            models_app.PromotionRequested(**of, version_id=ids["version_id"]),
            models_app.PromotionAnswered(**of, version_id=ids["version_id"], outcome="approved"),
            models_app.EndpointDeployed(
                **of, endpoint_id=ids["endpoint_id"], version_id=ids["version_id"], generation=1
            ),
            models_app.EndpointUndeployed(**of, endpoint_id=ids["endpoint_id"]),
            models_app.EndpointStopped(**of, endpoint_id=ids["endpoint_id"]),
            models_app.EndpointDisplaced(**of, endpoint_id=ids["endpoint_id"]),
            models_app.HealthAlertOpened(**of, endpoint_id=ids["endpoint_id"], alert_id=alert.id),
            models_app.PipelineRunEnded(**of, run_id=ids["run_id"], state="failed"),
            models_app.ScheduleMissed(**of, schedule_id=ids["schedule_id"], count=3),
            models_app.ScheduleRefused(**of, schedule_id=ids["schedule_id"]),
            models_app.SchedulePaused(**of, schedule_id=ids["schedule_id"]),
            events.MemberAdded(**of, user_id=ids["user_id"]),
            events.MemberRemoved(**of, user_id=ids["user_id"]),
            events.NotificationForWebhooks(
                **of, user_id=ids["user_id"], kind="job_failed", path=f"jobs/{ids['job_id']}/"
            ),
            events.ApprovalRequested(**of, approval_id=ids["approval_id"], kind="quota"),
            events.ApprovalAnswered(**of, approval_id=ids["approval_id"], kind="quota", state="declined"),
            events.StandingChanged(**of, standing="active"),
        ]
        events.publish_all(happened)
    bodies = sent(tenant, as_control)
    types = {body["type"] for body in bodies}
    assert types == {one.name for one in catalogue.types()} - {"audit.checkpoint"}
    for body in bodies:
        assert set(body) == {"id", "type", "created", "tenant", "object", "data"}
        text = json.dumps(body).lower()
        assert HIDDEN.lower() not in text, body["type"]
        assert "@" not in text, body["type"]
        assert len(json.dumps(body)) < 1_000


def test_operations_are_what_is_sent(as_control: Control) -> None:
    """Through the operations themselves: a member joins and leaves, a request is made and declined."""
    tenant = factories.make_tenant()
    drain(tenant, as_control)
    subscribed(tenant, "member.added", "member.removed", "approval.requested", "approval.answered")
    with factories.in_tenant(tenant) as owner:
        added = members.add_member(actor=owner, email="nora@example.org", role="engineer", password=factories.PASSWORD)
        asks = factories.actor_for(tenant, "engineer")
        quotas.set_limit(actor=owner, resource="devices:serving", limit=3)
        request = quota_requests.request(actor=asks, resource="devices:serving", limit=9, reason="more of it")
        approvals.decline(actor=owner, approval_id=request.id, reason="not now")
        members.remove_member(actor=owner, user_id=added.user_id)
    found = {body["type"]: body for body in sent(tenant, as_control)}
    assert found["member.added"]["object"]["id"] == str(added.user_id)
    assert found["member.removed"]["object"]["id"] == str(added.user_id)
    assert found["approval.requested"]["object"]["id"] == str(request.id)
    assert found["approval.answered"]["data"]["state"] == "declined"
    assert "nora" not in json.dumps(found)


def test_the_stored_checkpoint_is_what_a_webhook_receives(as_control: Control, settings: Settings, s3: S3) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"audit_key": key})
    tenant = factories.make_tenant()
    drain(tenant, as_control)
    subscribed(tenant, "audit.checkpoint")
    with as_control():
        assert checkpoints.sign_due() >= 1
    (body,) = sent(tenant, as_control)
    with tenant_scope(tenant.id):
        row = AuditCheckpoint.objects.get()
        (exported,) = checkpoints.exported([row])
    assert body["data"] == exported
    assert body["object"] == {"kind": "audit_checkpoint", "id": str(row.id), "path": f"/t/{tenant.slug}/audit/"}
    public = checkpoints.signing_key().public_key()
    assert checkpoints.signature_fault(body["data"], {checkpoints.key_id(public): public.public_bytes_raw()}) == ""
