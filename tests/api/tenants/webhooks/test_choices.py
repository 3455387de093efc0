"""By which ways a person is notified: each chooses for themselves, by topic."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from compute.events import JobEnded
from compute.models import Job
from tenants import operations
from tenants.events import events, outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, OutboxMessage, Tenant, User
from tenants.notifications import notifications, topics
from tenants.rights import held
from tests.api.objects import one_of_everything
from tests.api.tenants.webhooks.test_catalogue import drain, sent, subscribed
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]
ROOT = Path(__file__).resolve().parents[4]


def logged_in(tenant: Tenant, email: str) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, "finance", email))
    return client


def raise_and_send(tenant: Tenant, title: str, as_control: Control) -> dict[str, str]:
    """Raise a notification about a budget, and send what is to be emailed; return addresses with subjects."""
    with tenant_scope(tenant.id):
        notifications.notify(permission="budgets.manage", kind="budget", title=title)
        waiting = OutboxMessage.objects.filter(topic="tenants.NotificationRaised", delivered_at=None)
        messages = list(waiting.values_list("id", flat=True))
    mail.outbox.clear()
    with as_control():
        for message in messages:
            outbox.deliver(message, tenant.id)
    return {one.to[0]: one.subject for one in mail.outbox}


def test_each_chooses_the_bell_email_both_or_nothing(as_control: Control) -> None:
    tenant = factories.make_tenant("acme", owner="owner@acme.example")
    people = {name: logged_in(tenant, f"{name}@acme.example") for name in ("both", "bell", "email", "none")}
    wanted = {"bell": ["bell"], "email": ["email"], "none": []}
    for name, ways in wanted.items():
        given = {f"{one.key}:{way}": "on" for one in topics.topics() for way in ("bell", "email")}
        given = {key: value for key, value in given.items() if not key.startswith("budgets:") or key[8:] in ways}
        assert "It applies to new notifications" in text_of(
            people[name].post("/t/acme/notifications/choices/", given, follow=True)
        )
    emailed = raise_and_send(tenant, "Budget of Default: 80 % spent", as_control)
    assert set(emailed) == {"owner@acme.example", "both@acme.example", "email@acme.example"}
    for name, client in people.items():
        shown = "Budget of Default" in text_of(client.get("/t/acme/notifications/"))
        assert shown == (name in ("both", "bell")), name
    page = text_of(people["none"].get("/t/acme/notifications/choices/"))
    assert page.count(" checked") == 2 * (len(topics.topics()) - 1)


def test_who_chooses_it_is_notified_of_own_jobs_and_by_webhook(as_control: Control) -> None:
    tenant = factories.make_tenant("acme")
    ids = one_of_everything(tenant)
    people = {name: factories.make_member(tenant, "engineer", f"{name}@acme.example") for name in ("chose", "quiet")}
    client = Client(headers={"X-Exchequer-Tenant": "acme"})
    client.force_login(people["chose"])
    wanted = {"topic": "jobs", "bell": True, "email": False, "webhook": True}
    assert client.put("/api/v1/notifications/choices/", wanted, "application/json").json()["webhook"] is True
    drain(tenant, as_control)
    assert "No webhook receives that event" in text_of(client.get("/t/acme/notifications/choices/"))
    subscribed(tenant, "member.notified")
    assert "No webhook receives that event" not in text_of(client.get("/t/acme/notifications/choices/"))

    def ended(name: str, state: str) -> list[dict[str, Any]]:
        with tenant_scope(tenant.id):
            Job.objects.filter(id=ids["job_id"]).update(person=people[name].id, name="Nightly")
            events.publish(JobEnded(tenant_id=tenant.id, job_id=ids["job_id"], state=state, cause=""))
        return sent(tenant, as_control)

    assert ended("quiet", "failed") == ended("chose", "cancelled") == []
    (body,) = ended("chose", "failed")
    assert body["object"] == {
        "kind": "member", "id": str(people["chose"].id), "path": f"/t/acme/jobs/{ids['job_id']}/",
    }  # fmt: skip
    assert (body["data"], "Nightly" in json.dumps(body)) == ({"notification": "job_failed"}, False)
    assert "Job Nightly failed" in text_of(client.get("/t/acme/notifications/"))
    with tenant_scope(tenant.id):
        project = Job.objects.get(id=ids["job_id"]).project_id
    operations.change_project(actor=factories.actor_for(tenant), project_id=project, restricted=True)
    assert len(ended("chose", "succeeded")) == 1, "not of a project that one no longer sees into"


def test_a_choice_holds_in_one_organisation(as_control: Control) -> None:
    first, second = factories.make_tenant("first"), factories.make_tenant("second")
    client = logged_in(first, "nora@example.org")
    with tenant_scope(second.id):
        held.give(Membership.objects.create(user=User.objects.get(email="nora@example.org")), "finance")
    client.post("/t/first/notifications/choices/", {})
    assert "nora@example.org" not in raise_and_send(first, "First", as_control)
    assert "nora@example.org" in raise_and_send(second, "Second", as_control)


def test_every_kind_of_notification_belongs_to_a_topic() -> None:
    known = {kind for one in topics.topics() for kind in one.kinds}
    found: dict[str, str] = {}
    for app in ("tenants", "billing", "compute", "models_app"):
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
                if isinstance(node, ast.Call) and name in ("notify", "notify_person"):
                    for given in node.keywords:
                        if given.arg == "kind" and isinstance(given.value, ast.Constant):
                            found[str(given.value.value)] = path.name
    assert found
    assert {kind: file for kind, file in found.items() if kind not in known} == {}


def test_a_program_of_a_person_chooses_by_the_api_and_a_key_does_not(as_control: Control) -> None:
    tenant = factories.make_tenant("acme")
    client = logged_in(tenant, "nora@example.org")
    client.get("/t/acme/")
    where = "/api/v1/notifications/choices/"
    rows = {one["topic"]: one for one in client.get(where).json()["results"]}
    assert set(rows) == {one.key for one in topics.topics()}
    off = {key for key, row in rows.items() if not (row["bell"] or row["email"])}
    assert off == {one.key for one in topics.topics() if one.default == topics.OFF}
    assert all(row["bell"] and row["email"] for key, row in rows.items() if key not in off)
    for key in rows:
        wanted = {"topic": key, "bell": True, "email": False}
        assert client.put(where, wanted, "application/json").json() == rows[key] | wanted
    assert "nora@example.org" not in raise_and_send(tenant, "Quiet", as_control)
    assert client.put(where, wanted | {"topic": "nothing"}, "application/json").status_code == 400
    by_key = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    assert by_key.get(where).status_code == by_key.put(where, wanted, "application/json").status_code == 404
