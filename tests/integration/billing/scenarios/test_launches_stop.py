"""Dunning to its end: an unpaid invoice stops launches and deploys, a deferral gives time, and the payment lifts it at once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.test import Client

from billing.mailing.reminding import remind_all
from compute.devices.base import Found
from compute.fleet import nodes
from compute.scheduling import assign
from models_app.models import Dataset, DatasetVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct, Tenant
from tests.api.objects import COLUMNS, EMPTY
from tests.integration.billing.invoicing.scene import draft_of, finalise, name_the_seller, used
from tests.integration.billing.mailing.post import BILLING, deliver
from tests.support import endpoints, factories, selling
from tests.support.pages import text_of
from tests.support.servers.smtp import MailServer, mail_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import Settings

    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
#: The invoice of March is finalised on 2 April and due on 2 May.
DUE = datetime(2027, 5, 2, 12, tzinfo=UTC)
PAGE = {"name": "Compute GmbH", "address": "1 Main Street", "reason": "as agreed", "sends_invoices": "on"}
STOPPED = "Invoice INV-000001 was due on 2 May 2027 and is not paid."


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    """A mail server that the product uses."""
    from pathlib import Path

    from config.mail import mail_settings

    with mail_server() as running:
        for name, value in mail_settings(running.url, Path()).items():
            setattr(settings, name, value)
        yield running


class Scene:
    """A tenant with an unpaid invoice, a dataset, a model in production, and a device."""

    def __init__(self, demo_clock: DemoClock, console: Any) -> None:
        self.demo_clock, self.console = demo_clock, console
        name_the_seller()
        self.schedule("3 remind, 20 final, 30 stop")
        self.tenant: Tenant = used(demo_clock, 60_000, billing_email=BILLING)
        finalise(self.tenant)
        deliver(self.tenant)
        self.invoice = draft_of(self.tenant)
        self.version = endpoints.make_version(self.tenant)
        self.register()
        with tenant_scope(self.tenant.id):
            dataset = Dataset.objects.create(name="numbers", created_by=uuid4(), created_by_label="nora")
            fields = EMPTY | {"columns": COLUMNS, "target": "t"}
            DatasetVersion.objects.create(
                dataset=dataset,
                number=1,
                filename="n.csv",
                source_key="s",
                data_key="d",
                rows=200,
                state="ready",
                **fields,
            )
        self.dataset = str(dataset.id)
        self.engineer = Client()
        self.engineer.force_login(factories.make_member(self.tenant, "engineer"))
        self.engineer.get(f"/t/{self.tenant.slug}/")

    def register(self) -> None:
        found = [Found(f"cpu-{number}", "cpu", "cpu", f"CPU {number} of host h", number, 2**32) for number in range(2)]
        nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])

    def schedule(self, text: str) -> None:
        self.console.prove(factories.PASSWORD)
        assert self.console.post("/invoices/seller/", PAGE | {"dunning": text}).status_code == 302

    def day(self, after_due: int) -> None:
        """Let the ops worker work on a day after the due day, twice."""
        self.demo_clock.move_to(DUE + timedelta(days=after_due))
        with selling.role("exchequer_control"):
            remind_all()
            remind_all()
        deliver(self.tenant)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.engineer.post(f"/api/v1/{path}", body or {}, content_type="application/json")

    def launch(self) -> Any:
        body = {
            "name": "race", "kind": "train", "project": "default", "recipe": "tabular.classifier", "params": {},
            "dataset": self.dataset, "device_class": "cpu", "max_seconds": 3600,
        }  # fmt: skip
        return self.post("jobs/", body)

    def deploy(self, name: str = "churn") -> Any:
        return self.post("endpoints/", {"name": name, "version": str(self.version.id)})

    def form(self, path: str) -> str:
        return text_of(self.engineer.get(f"/t/{self.tenant.slug}/{path}"))

    def defer(self, until: date, reason: str = "paid by cheque next week") -> Any:
        return self.console.post(f"/invoices/{self.invoice}/deferral/", {"until": until.isoformat(), "reason": reason})


def test_an_overdue_invoice_stops_launches_until_it_is_paid(
    demo_clock: DemoClock, server: MailServer, seller: Any
) -> None:
    scene = Scene(demo_clock, seller("platform_finance"))
    for after_due in (-1, 2, 3, 20, 29):
        scene.day(after_due)
    assert scene.deploy("before").status_code == 201
    running, paused = (scene.launch().json()["id"] for _ in range(2))
    assert scene.post(f"jobs/{paused}/pause/").json()["state"] == "paused"
    scene.register()
    with selling.as_control():
        assign.assign_all()
    assert STOPPED not in scene.form("jobs/new/")

    scene.day(30)
    refused = scene.launch()
    assert (refused.status_code, refused.json()["code"]) == (402, "launches_stopped")
    assert refused.json()["title"].startswith(STOPPED)
    assert refused.json()["number"] == "INV-000001"
    hold = {"project": "default", "meter": "inference_requests", "quantity": "5", "expires_in_s": 60}
    for answer in (scene.deploy(), scene.post("holds/", hold), scene.post(f"jobs/{paused}/resume/")):
        assert (answer.status_code, answer.json()["code"]) == (402, "launches_stopped")
    for path in ("jobs/new/", "endpoints/new/"):
        assert STOPPED in scene.form(path)
    # What runs goes on, and everything is read.
    seen = scene.engineer.get(f"/api/v1/jobs/{running}/").json()
    assert seen["state"] == "running"
    assert scene.engineer.get("/api/v1/endpoints/").status_code == 200

    # An operator gives more time, with a reason that stands in both logs, and the time ends by itself.
    assert scene.defer(date(2027, 6, 4)).status_code == 302
    assert scene.launch().status_code == 201
    assert STOPPED not in scene.form("endpoints/new/")
    with tenant_scope(scene.tenant.id):
        entry = AuditEntry.objects.get(action="billing.launch_stop.deferred")
    with selling.role("exchequer_operator"):
        act = OperatorAct.objects.get(action="billing.launch_stop.deferred")
    assert (entry.reason, act.reason) == ("paid by cheque next week", "paid by cheque next week")
    assert "Stop deferred until 4 June 2027" in text_of(scene.console.get("/invoices/overdue/"))
    scene.day(33)
    assert scene.launch().status_code == 201, "the day itself is included"
    scene.day(34)
    assert scene.launch().status_code == 402

    paid = {"amount": "3.00", "received_on": "2027-06-05", "shown": "0 0 0"}
    assert scene.console.post(f"/invoices/{scene.invoice}/payments/", paid).status_code == 302
    assert scene.launch().status_code == 201
    assert scene.deploy().status_code == 201
    assert STOPPED not in scene.form("jobs/new/")
    assert scene.post(f"jobs/{paused}/resume/").json()["state"] == "queued"
    sent = [email["Subject"].partition(":")[0] for email in server.taken if email["To"] == BILLING]
    assert sent[1:] == ["Reminder", "Final notice", "Launches are stopped"]
    final = next(email for email in server.taken if email["Subject"].startswith("Final notice"))
    assert "From 1 June 2027 nothing new is launched" in final.get_body(("plain",)).get_content()
    assert scene.defer(date(2027, 6, 9)).status_code == 422, "a paid invoice stops nothing"


def test_the_schedule_as_it_stands_decides(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    scene = Scene(demo_clock, seller("platform_finance"))
    scene.day(31)
    assert scene.launch().status_code == 402
    scene.schedule("3 remind, 40 stop")
    assert scene.launch().status_code == 201
    scene.day(40)
    assert scene.launch().status_code == 402
    scene.schedule("3 remind")
    assert scene.launch().status_code == 201
    # A stop that is moved before steps that are done is reached, too.
    scene.schedule("2 stop")
    assert scene.launch().status_code == 402


def test_deferrals_have_bounds(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    scene = Scene(demo_clock, seller("platform_finance"))
    scene.day(31)
    api = f"/api/operator/v1/invoices/{scene.invoice}/deferrals/"
    for until in ("2027-05-31", "2028-06-10", "soon"):
        refused = scene.console.post(api, {"until": until, "reason": "why not"}, content_type="application/json")
        assert refused.status_code == 400, until
    made = scene.console.post(api, {"until": "2027-06-10", "reason": "more time"}, content_type="application/json")
    assert (made.status_code, made.json()["until"], made.json()["reason"]) == (201, "2027-06-10", "more time")
    assert scene.launch().status_code == 201
    ended = scene.console.post(api, {"until": "2027-06-01", "reason": "no more"}, content_type="application/json")
    assert ended.status_code == 201
    assert [one["until"] for one in scene.console.get(api).json()["results"]] == ["2027-06-01", "2027-06-10"]
    assert scene.launch().status_code == 402
