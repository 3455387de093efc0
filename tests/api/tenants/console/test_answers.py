"""Requests of tenants for higher ceilings: operators answer them, in the console and by its API."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from tenants import quotas
from tenants.access.actor import Actor
from tenants.approvals import approvals
from tenants.audit import queries as audit
from tenants.clock import now
from tenants.events import outbox
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, Notification, Tenant, User
from tenants.operators.answers import answering
from tenants.operators.operator import Operator
from tests.support import factories
from tests.support.pages import text_of
from tests.support.selling import role

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
ASKED = {"resource": "devices:cpu", "limit": 12, "reason": "a larger model"}
API = "/api/operator/v1/approvals/"


@pytest.fixture
def tenant(as_control: Role) -> Tenant:
    tenant = factories.make_tenant("lab")
    with as_control():
        operator = Actor.system(tenant.id, "operator")
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=8, reason="as in the contract", guaranteed=2)
    return tenant


def member(tenant: Tenant, role: str) -> tuple[User, Client]:
    user, client = factories.make_member(tenant, role), Client()
    client.force_login(user)
    client.get(f"/t/{tenant.slug}/")
    return user, client


def ask(client: Client, **change: Any) -> Any:
    return client.post("/api/v1/quotas/requests/", {**ASKED, **change}, content_type="application/json")


def effective(tenant: Tenant) -> int | None:
    with tenant_scope(tenant.id):
        return quotas.use_of("devices:cpu", quotas.ORGANISATION).effective


def test_a_request_above_the_ceiling_goes_to_the_operators_and_raises_it(
    tenant: Tenant, seller: Any, as_control: Role
) -> None:
    ann, browser = member(tenant, "engineer")
    asked = ask(browser)
    assert (asked.status_code, asked.json()["kind"], asked.json()["may_answer"]) == (201, "ceiling", False)
    assert asked.json()["sentence"] == "Raise the ceiling of CPU devices from 8 to 12."
    owner = member(tenant, "owner")[1]
    (seen,) = owner.get("/api/v1/approvals/").json()["results"]
    refused = owner.post(f"/api/v1/approvals/{seen['id']}/approve/", {}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"], seen["may_answer"]) == (403, "answered_by_operators", False)
    admin, support = seller("platform_admin"), seller("platform_support")
    assert "Requests that wait for an answer" in text_of(admin.get("/"))
    page = text_of(admin.get("/approvals/"))
    said = (tenant.name, ann.email.partition("@")[0], "CPU devices", "a larger model", "permanently")
    assert [word for word in said if word not in page] == []
    path = f"/approvals/{seen['id']}/answer/"
    assert support.post(path, {"answer": "approve", "reason": "for the paper"}).status_code == 403
    assert "Approve" not in text_of(support.get("/approvals/")).partition("Reason")[2].replace("Approvals", "")
    assert admin.post(path, {"answer": "approve", "reason": "x"}).status_code == 400
    assert effective(tenant) == 8
    assert admin.post(path, {"answer": "approve", "reason": "for the paper"}).status_code == 302
    assert effective(tenant) == 12
    assert "for the paper" in text_of(admin.get("/approvals/?show=all"))
    assert "Nothing waits" in text_of(admin.get("/approvals/"))
    assert "Requests that wait" not in text_of(admin.get("/"))
    assert "Raise the ceiling of CPU devices from 8 to 12." in text_of(admin.get("/log/"))
    with tenant_scope(tenant.id):
        entries = [(row.action, row.actor_label, row.reason) for row in audit.entries(limit=2)]
    assert entries[::-1] == [
        ("tenants.approval.requested", ann.email, "a larger model"),
        ("tenants.quota_ceiling.raised", "operator", "a larger model"),
        ("tenants.approval.granted", "operator", "for the paper"),
    ]
    with as_control():
        outbox.relay(outbox.deliver)
    with tenant_scope(tenant.id):
        (told,) = Notification.objects.filter(user=ann)
    assert told.title == "Higher ceiling was approved" and "for the paper" in told.body


def test_a_ceiling_raised_until_a_date_falls_back_by_itself(tenant: Tenant, seller: Any, demo_clock: DemoClock) -> None:
    browser = member(tenant, "admin")[1]
    until = (now() + timedelta(days=5)).isoformat()
    asked = ask(browser, until=until).json()
    admin = seller("platform_admin")
    answered = admin.post(f"{API}{asked['id']}/approve/", {"reason": "for five days"}, content_type="application/json")
    assert (answered.status_code, answered.json()["state"], answered.json()["current"]) == (200, "approved", 8)
    assert effective(tenant) == 12
    own = {"resource": "devices:cpu", "limit": 11}
    assert browser.put("/api/v1/quotas/", own, content_type="application/json").status_code == 200
    (row,) = admin.get(f"/api/operator/v1/tenants/{tenant.id}/quotas/").json()["results"]
    assert (row["limit"], row["raised_to"], row["guaranteed"]) == (8, 12, 2)
    demo_clock.advance(timedelta(days=6))
    assert effective(tenant) == 8
    assert ask(browser, limit=10).json()["sentence"] == "Raise the ceiling of CPU devices from 8 to 10."


def test_a_raise_in_force_is_neither_lowered_nor_ended_sooner_by_another(tenant: Tenant, seller: Any) -> None:
    browser, admin = member(tenant, "admin")[1], seller("platform_admin")

    def approve(limit: int, days: int) -> Any:
        asked = ask(browser, limit=limit, until=(start + timedelta(days=days)).isoformat()).json()
        return admin.post(f"{API}{asked['id']}/approve/", {"reason": "as asked"}, content_type="application/json")

    start = now()
    lower = ask(browser, limit=10, until=(start + timedelta(days=30)).isoformat()).json()
    assert approve(16, 5).status_code == 200
    refused = admin.post(f"{API}{lower['id']}/approve/", {"reason": "as asked"}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_raise")
    said = f"It is raised to 16 until {start + timedelta(days=5):%Y-%m-%d}"
    assert said in refused.json()["title"]
    assert effective(tenant) == 16
    sooner = approve(20, 2)
    assert (sooner.status_code, said in sooner.json()["title"]) == (409, True)
    page = text_of(admin.get(f"/tenants/{tenant.id}/"))
    assert re.search(r"8 <br><small>raised to 16 until <time", page)
    assert approve(20, 9).status_code == 200
    assert effective(tenant) == 20


def test_a_declined_request_changes_nothing_and_says_why(tenant: Tenant, seller: Any, as_control: Role) -> None:
    ann, browser = member(tenant, "engineer")
    asked, admin = ask(browser).json(), seller("platform_admin")
    body = {"reason": "no devices left"}
    answered = admin.post(f"{API}{asked['id']}/decline/", body, content_type="application/json")
    assert (answered.json()["state"], answered.json()["answer_reason"]) == ("declined", "no devices left")
    dated = ask(browser, until="2099-06-01T00:00:00+02:00").json()
    assert dated["sentence"].endswith("from 8 to 12 until 2099-05-31 22:00 UTC.")
    assert effective(tenant) == 8
    for act in ("approve", "decline"):
        again = admin.post(f"{API}{asked['id']}/{act}/", body, content_type="application/json")
        assert (again.status_code, again.json()["code"]) == (409, "already_answered")
    with as_control():
        outbox.relay(outbox.deliver)
    assert "no devices left" in text_of(browser.get(f"/t/{tenant.slug}/approvals/?show=all"))
    with tenant_scope(tenant.id):
        assert Notification.objects.get(user=ann).title == "Higher ceiling was declined"


def test_what_can_no_longer_be_applied_stays_open(tenant: Tenant, seller: Any, demo_clock: DemoClock) -> None:
    browser, admin = member(tenant, "engineer")[1], seller("platform_admin")
    asked = ask(browser).json()
    ceiling = {"resource": "devices:cpu", "limit": "20", "reason": "a new contract"}
    assert admin.post(f"/tenants/{tenant.id}/ceilings/", ceiling).status_code == 302
    refused = admin.post(f"{API}{asked['id']}/approve/", {"reason": "as asked"}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_raise")
    assert effective(tenant) == 20
    assert [row["state"] for row in admin.get(f"{API}?state=open").json()["results"]] == ["open"]
    demo_clock.advance(timedelta(days=31))
    late = admin.post(f"{API}{asked['id']}/decline/", {"reason": "too late"}, content_type="application/json")
    assert (late.status_code, late.json()["code"]) == (409, "approval_expired")
    assert admin.get(f"{API}?state=open").json()["results"] == []
    assert admin.get(f"{API}?state=soon").status_code == 400


def test_of_racing_operators_one_wins(tenant: Tenant, console: Role) -> None:
    asked = UUID(ask(member(tenant, "engineer")[1]).json()["id"])
    barrier, answers = threading.Barrier(6), []

    def answer(number: int) -> None:
        admin = Operator(id=UUID(int=number), label=f"{number}@platform.example", roles=("platform_admin",))
        try:
            with role("exchequer_operator"):
                barrier.wait(60)
                answering.answer(operator=admin, approval_id=asked, granted=number % 2 == 0, reason="as asked")
            answers.append("approved" if number % 2 == 0 else "declined")
        except approvals.AlreadyAnswered:
            answers.append("late")
        finally:
            connection.close()

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(6)]
    with console():
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    (won,) = [one for one in answers if one != "late"]
    assert len(answers) == 6
    assert effective(tenant) == (12 if won == "approved" else 8)
    with tenant_scope(tenant.id):
        assert Approval.objects.get(id=asked).state == won
        assert sum(row.action.startswith("tenants.approval.") for row in audit.entries(limit=20)) == 2


def test_no_process_of_the_tenants_side_answers_for_the_operators(
    tenant: Tenant, as_operator: Role, as_control: Role
) -> None:
    member(tenant, "engineer")
    asked = ask(member(tenant, "engineer")[1]).json()["id"]
    with (
        tenant_scope(tenant.id),
        pytest.raises(DatabaseError, match="answered by operators"),
        transaction.atomic(),
    ):
        Approval.objects.filter(id=asked).update(state="approved", answered_at=now())
    with (
        as_control(),
        pytest.raises(DatabaseError, match="answered by operators"),
        tenant_scope(tenant.id),
    ):
        Approval.objects.filter(id=asked).update(state="approved", answered_at=now())
    with tenant_scope(tenant.id):
        mine = Approval.objects.get(id=asked)
        Approval.objects.create(
            kind="quota", requester_label="ann", target="x", wanted={}, reason="theirs", expires_at=mine.expires_at
        )
    with as_operator(), tenant_scope(tenant.id):
        assert [str(row.id) for row in Approval.objects.all()] == [asked], "the tenant's own requests stay its own"


def test_what_a_leaver_asked_is_closed(tenant: Tenant, seller: Any, as_control: Role) -> None:
    ann, browser = member(tenant, "engineer")
    asked = ask(browser).json()["id"]
    admin = seller("platform_admin")
    assert [row["id"] for row in admin.get(f"{API}?state=open").json()["results"]] == [asked]
    members.remove_member(actor=factories.actor_for(tenant), user_id=ann.id)
    with as_control():
        outbox.drain(tenant.id)
    (row,) = admin.get(API).json()["results"]
    assert (row["state"], row["answer_reason"]) == ("declined", "The person who asked is no longer a member.")
    late = admin.post(f"{API}{asked}/approve/", {"reason": "for the paper"}, content_type="application/json")
    assert (late.status_code, late.json()["code"], effective(tenant)) == (409, "already_answered", 8)
    with tenant_scope(tenant.id):
        (entry,) = [one for one in audit.entries(limit=9) if one.action == "tenants.approval.declined"]
    assert (entry.actor_label, entry.target_id) == ("leaver", asked)
