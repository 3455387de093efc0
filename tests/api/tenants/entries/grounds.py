"""What a write of the API needs before it succeeds: an upload, a reading, an invoice, a card at the payment provider."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db import connection, transaction
from django.test import Client

from billing.collecting import sweeping
from billing.models import TopUp
from compute.models import Attempt, Device
from models_app.models import DatasetVersion
from tenants.clock import now
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import MailDomain, Tenant
from tests.api.models_app.test_model_versions import another_version
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import name_the_seller
from tests.support import selling


@dataclass(frozen=True)
class World:
    """A tenant with one of everything, and a browser in which an owner is logged in."""

    tenant: Tenant
    ids: dict[str, UUID]
    client: Client
    owner_id: UUID

    def ask(self, method: str, path: str, body: Any = None, client: Client | None = None) -> Any:
        """Send a request that succeeds, and return its answer."""
        made = getattr(client or self.client, method)(f"/api/v1/{path}", body or {}, content_type="application/json")
        assert made.status_code < 300, (path, made.status_code, made.content)
        return made.json() if made.content else None


@dataclass(frozen=True)
class Sent:
    """The request: its body, by default one that tests have for it, ids in place of those of the world, who sends it, and the file of an upload."""

    body: dict[str, Any] | None = None
    ids: dict[str, UUID] = field(default_factory=dict)
    client: Client | None = None
    file: bytes = b""


@contextmanager
def undone() -> Iterator[None]:
    """Undo what happens inside. Like the transaction of a test case it is none of the product's, which calls no provider in one."""
    block = transaction.atomic()
    block._from_testcase = True
    with block:
        yield
        transaction.set_rollback(True)


def event(**more: Any) -> dict[str, Any]:
    """Return a current reading that is counted."""
    said = {"specversion": "1.0", "id": "one", "source": "gateway", "type": "inference.requests", "subject": "a"}
    return said | {"time": now().isoformat(), "data": {"quantity": 3}} | more


def asks_for_access(world: World) -> Sent:
    """An owner has every role."""
    return Sent({"role": "engineer", "reason": "to launch"}, client=client_for(world.tenant, "viewer"))


def is_reported(world: World) -> Sent:
    """A counted reading."""
    world.ask("post", "events/", event())
    batch = world.ask("get", "usage/batches/")["results"][0]
    events = [{"source": "gateway", "id": "one"}]
    return Sent({"events": events, "reason": "a wrong host"}, {"batch_id": batch["id"]})


def is_reported_in_batch(world: World) -> Sent:
    """A request whose readings are counted."""
    return Sent({"reason": "a wrong host"}, is_reported(world).ids)


def is_held(world: World) -> Sent:
    """A reading that came too late to be counted unseen."""
    world.ask("post", "events/", event(time=(now() - timedelta(days=40)).isoformat()))
    held = [one["id"] for one in world.ask("get", "usage/held/")["results"]]
    return Sent({"events": held, "decision": "reject", "reason": "a wrong host"})


def sells(world: World) -> Sent:
    """A seller, who invoices top-ups."""
    name_the_seller()
    return Sent({"amount": "10.00"})


def owes(world: World) -> Sent:
    """An invoice of a top-up that lies at the payment provider."""
    world.ask("post", "wallet/top-ups/", sells(world).body)
    with selling.role("exchequer_control"):
        outbox.drain(world.tenant.id)
        sweeping.sweep()
    with tenant_scope(world.tenant.id):
        return Sent(ids={"invoice_id": TopUp.objects.get().invoice_id})


def has_a_card(world: World) -> Sent:
    """A card, saved at the provider's page."""
    page = urlsplit(world.ask("post", "payment-methods/")["url"])
    there = http.client.HTTPConnection(page.hostname or "", page.port, timeout=20)
    there.request("POST", page.path, "card=pm_card_visa", {"Content-Type": "application/x-www-form-urlencoded"})
    assert there.getresponse().status == 303
    there.close()
    with selling.role("exchequer_control"):
        sweeping.sweep()
    card = world.ask("get", "payment-methods/")["payment_methods"][-1]  # the provider knows the customer of before
    return Sent({"id": card["id"]})


def may_be_charged(world: World) -> Sent:
    """A card, and nothing charged by itself."""
    has_a_card(world)
    return Sent()


def is_charged(world: World) -> Sent:
    """Invoices are charged to a card."""
    has_a_card(world)
    world.ask("put", "payment-methods/automatic-charges/")
    return Sent()


def is_undisputed(world: World) -> Sent:
    """A line that nobody objects to any more."""
    invoice = world.ids["invoice_id"]
    world.ask("post", f"disputes/{world.ids['dispute_id']}/withdraw/")
    line = world.ask("get", f"invoices/{invoice}/lines/")["results"][0]
    return Sent({"line": line["id"], "reason": "twice the hours"})


def assumes_a_commitment(world: World) -> Sent:
    """A month that has a contract."""
    return Sent({"commitment": "10.00", "period": f"{now():%Y-%m}"})


def is_paused(world: World) -> Sent:
    """A paused job."""
    world.ask("post", f"jobs/{world.ids['job_id']}/pause/")
    return Sent()


def is_idle(world: World) -> Sent:
    """A running job whose devices do nothing: an attempt, which the controller makes."""
    with tenant_scope(world.tenant.id), connection.cursor() as cursor:
        cursor.execute("SET ROLE exchequer_control")
        device = Device.objects.earliest("id")
        Attempt.objects.create(
            job_id=world.ids["job_id"],
            token=1,
            node_id=device.node_id,
            device=device,
            device_name=device.name,
            device_class=device.device_class,
            state="running",
            idle_since=now(),
            idle_stop_at=now(),
        )
        cursor.execute("SET ROLE exchequer_app")
    return Sent()


def uploads(world: World) -> Sent:
    """A file."""
    return Sent({"name": "fresh"}, file=b"a,t\n1,x\n2,y\n")


def is_unread(world: World) -> Sent:
    """A dataset with a version that could not be read."""
    with tenant_scope(world.tenant.id):
        first = DatasetVersion.objects.get(dataset_id=world.ids["dataset_id"])
        DatasetVersion.objects.create(
            dataset_id=first.dataset_id,
            number=2,
            filename="n.csv",
            source_key="",
            state="failed",
            code="unreadable",
            sha256="1" * 64,
            size=1,
        )
    return Sent()


def is_unused(world: World) -> Sent:
    """A version of a dataset that no job waits for."""
    world.ask("post", f"jobs/{world.ids['job_id']}/cancel/")
    return Sent()


def a_set_was_cancelled(world: World) -> Sent:
    """A set whose job was cancelled."""
    world.ask("post", f"job-sets/{world.ids['job_set_id']}/cancel/")
    return Sent()


def a_run_was_cancelled(world: World) -> Sent:
    """A run of a pipeline that was cancelled."""
    world.ask("post", f"pipeline-runs/{world.ids['run_id']}/cancel/")
    return Sent()


def a_pipeline_is_unused(world: World) -> Sent:
    """A pipeline without an open run, which no schedule launches."""
    world.ask("delete", f"schedules/{world.ids['schedule_id']}/")
    return a_run_was_cancelled(world)


def a_schedule_was_paused(world: World) -> Sent:
    """A schedule that is paused."""
    world.ask("post", f"schedules/{world.ids['schedule_id']}/pause/")
    return Sent()


def a_preset_can_be_launched(world: World) -> Sent:
    """A preset of a recipe that there is, on data that can be read."""
    launch = {
        "recipe": "tabular.classifier",
        "dataset": str(world.ids["dataset_id"]),
        "params": {},
        "device_class": "cpu",
    }
    world.ask("patch", f"presets/{world.ids['preset_id']}/", {"name": "nightly", "launch": launch})
    return Sent({"name": "weekly"})


def is_registered(world: World) -> Sent:
    """A version of a model without an endpoint."""
    return Sent({"stage": "staging"}, {"version_id": another_version(world.tenant, world.ids["version_id"])})


def is_requested(world: World) -> Sent:
    """A version that another person wants in production."""
    found = is_registered(world)
    engineer = client_for(world.tenant, "engineer")
    world.ask("post", f"versions/{found.ids['version_id']}/promote/", {"stage": "production"}, engineer)
    return Sent(ids=found.ids)


def has_a_way_in(world: World) -> Sent:
    """An owner with a second factor, who comes in without the provider."""
    Authenticator.objects.create(user_id=world.owner_id, type=Authenticator.Type.TOTP, data={})
    return Sent({"is_required": True})


def is_unproven(world: World) -> Sent:
    """A domain whose record the name server has."""
    with tenant_scope(world.tenant.id):
        MailDomain.objects.update(verified_at=None)
    return Sent()


def has_a_rule(world: World) -> Sent:
    """An idle rule of its own."""
    world.ask("put", "idle/rule/", {"window_minutes": 60, "busy_percent": 10, "grace_minutes": 15})
    return Sent({})


#: By method and route. The others need no more than the world.
GROUNDS: dict[str, Callable[[World], Sent]] = {
    "POST access/requests/": asks_for_access,
    "PUT identity-provider/required/": has_a_way_in,
    "POST identity-provider/domains/<uuid:domain_id>/verify/": is_unproven,
    "POST usage/batches/<uuid:batch_id>/void/": is_reported_in_batch,
    "POST usage/void/": is_reported,
    "POST usage/held/decide/": is_held,
    "POST wallet/top-ups/": sells,
    "POST invoices/<uuid:invoice_id>/pay/": owes,
    "POST invoices/<uuid:invoice_id>/dispute/": is_undisputed,
    "PUT payment-methods/default/": has_a_card,
    "POST payment-methods/remove/": has_a_card,
    "PUT payment-methods/automatic-charges/": may_be_charged,
    "DELETE payment-methods/automatic-charges/": is_charged,
    "POST what-if/": assumes_a_commitment,
    "POST jobs/<uuid:job_id>/snooze/": is_idle,
    "POST jobs/<uuid:job_id>/resume/": is_paused,
    "DELETE idle/rule/": has_a_rule,
    "POST job-sets/<uuid:job_set_id>/retry-failed/": a_set_was_cancelled,
    "POST pipeline-runs/<uuid:run_id>/retry/": a_run_was_cancelled,
    "POST schedules/<uuid:schedule_id>/resume/": a_schedule_was_paused,
    "DELETE pipelines/<uuid:pipeline_id>/": a_pipeline_is_unused,
    "PATCH presets/<uuid:preset_id>/": a_preset_can_be_launched,
    "POST presets/<uuid:preset_id>/launch/": a_preset_can_be_launched,
    "POST datasets/": uploads,
    "DELETE datasets/<uuid:dataset_id>/": is_unread,
    "DELETE datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/": is_unused,
    "POST versions/<uuid:version_id>/promote/": is_registered,
    "POST versions/<uuid:version_id>/approve/": is_requested,
    "POST versions/<uuid:version_id>/decline/": is_requested,
}
