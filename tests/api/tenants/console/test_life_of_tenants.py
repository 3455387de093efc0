"""What stays of a tenant's life for those who look later: reasons, dates, and no address of its people."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.test import Client

from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Invitation, Notification, OperatorAct, OutboxMessage, Tenant
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("ours", owner="owner@ours.example")


@pytest.fixture
def act(seller: Any, tenant: Tenant) -> Callable[[str, str], Any]:
    console = seller("platform_admin")

    def do(what: str, reason: str) -> Any:
        answer = console.post(f"/tenants/{tenant.id}/{what}/", {"reason": reason})
        assert answer.status_code == 302, answer.content
        return console

    return do


def person(email: str) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
    return client


def test_a_closing_that_is_undone_leaves_the_reason_of_the_suspension(act: Any, tenant: Tenant) -> None:
    act("suspend", "Invoice 17 is open")
    act("close", "The contract ended")
    owner = person("owner@ours.example")
    assert "The contract ended" in text_of(owner.get("/t/ours/jobs/"))
    console = act("restore", "It was renewed")
    assert "suspended again" in text_of(console.get(f"/tenants/{tenant.id}/"))
    assert "Invoice 17 is open" in text_of(owner.get("/t/ours/jobs/"))
    assert "Invoice 17 is open" in text_of(console.get(f"/tenants/{tenant.id}/"))
    act("resume", "It is paid")
    with tenant_scope(tenant.id):
        tenant.refresh_from_db()
    assert (tenant.standing, tenant.standing_reason, tenant.reason_before) == ("active", "", "")


def test_what_closes_names_its_date_and_leads_owners_to_the_export(act: Any, tenant: Tenant) -> None:
    act("close", "The contract ended")
    with tenant_scope(tenant.id):
        tenant.refresh_from_db()
    assert tenant.closes_at is not None
    owner = person("owner@ours.example")
    banner = text_of(owner.get("/t/ours/jobs/"))
    assert f"{tenant.closes_at:%d}".lstrip("0") in banner.split("It closes", 1)[1][:300]
    assert 'href="/t/ours/exports/">Export everything' in banner
    factories.make_member(tenant, "viewer", "viewer@ours.example")
    viewer = text_of(person("viewer@ours.example").get("/t/ours/jobs/"))
    assert "It closes" in viewer and "Export everything" not in viewer
    said = owner.get("/api/v1/organisation/").json()
    assert (said["standing"], said["standing_reason"]) == ("closing", "The contract ended")
    assert said["closes_at"].startswith(f"{tenant.closes_at:%Y-%m-%d}")


def test_nobody_is_invited_as_the_owner_of_what_closes_or_is_erased(
    seller: Any, as_control: Role, demo_clock: Any
) -> None:
    console = seller("platform_admin")
    given = {"name": "Ghosts", "slug": "ghosts", "owner_email": "ghost@second.example"}
    given |= {"timezone": "UTC", "currency": "EUR"}
    made = console.post("/tenants/new/", given)
    assert made.status_code == 302, text_of(made)
    page = made["Location"]
    for standing, gone in (("closing", False), ("closed", False), ("closed", True)):
        with as_control():
            moment = Tenant.objects.get(slug="ghosts").created_at if gone else None
            Tenant.objects.filter(slug="ghosts").update(standing=standing, erase_ordered_at=moment, erased_at=moment)
        shown = text_of(console.get(page))
        assert "Invite an owner" not in shown and "is on its way" not in shown
        assert ("Set a ceiling" in shown) == (standing == "closing")
        assert ("Its people were removed" in shown) == gone
        refused = console.post(f"{page}owner/", {"owner_email": "other@second.example"})
        assert (refused.status_code, "nobody joins it" in text_of(refused)) == (422, True)
        ceiling = console.post(f"{page}ceilings/", {"resource": "serving.endpoints", "limit": "1", "reason": "Why not"})
        assert standing == "closing" or ceiling.status_code == 422
    with as_control():
        found = Tenant.objects.get(slug="ghosts")
        with tenant_scope(found.id):
            assert not Invitation.objects.filter(email="other@second.example").exists()


def test_the_operator_log_names_nobody_of_a_tenant(seller: Any, console: Role, as_control: Role) -> None:
    admin = seller("platform_admin")
    given = {"name": "Ghosts", "slug": "ghosts", "owner_email": "ghost@second.example"}
    given |= {"timezone": "UTC", "currency": "EUR"}
    page = admin.post("/tenants/new/", given)["Location"]
    assert admin.post(f"{page}owner/", {"owner_email": "other@second.example"}).status_code == 302
    with console():
        said = [f"{act.target_label} {act.reason}" for act in OperatorAct.objects.all()]
    assert any("first owner is invited" in one for one in said)
    assert not any("second.example" in one for one in said), said
    with as_control():
        found = Tenant.objects.get(slug="ghosts")
        with tenant_scope(found.id):
            entries = AuditEntry.objects.filter(action="tenants.tenant.owner_awaited")
            assert entries.exists(), "the tenant's own log has it, under a pseudonym"


def test_an_answer_is_kept_by_no_cache(tenant: Tenant, act: Any, seller: Any) -> None:
    owner = person("owner@ours.example")
    key = {"Authorization": f"Bearer {factories.make_api_key(tenant)}"}
    console = seller("platform_finance")
    answers = [
        owner.get("/t/ours/jobs/"),
        owner.get("/t/ours/members/"),
        owner.get("/t/ours/missing/"),
        Client().get("/api/v1/me/", headers=key),
        console.get("/"),
        console.get("/api/operator/v1/tenants/"),
    ]
    assert [("no-store" in one["Cache-Control"], "private" in one["Cache-Control"]) for one in answers] == [
        (True, True)
    ] * len(answers)


@pytest.mark.django_db(transaction=True)
def test_owners_read_in_the_bell_why_their_organisation_is_suspended(
    act: Any, tenant: Tenant, as_control: Role
) -> None:
    console = act("suspend", "Invoice 17 is open")
    with as_control(), tenant_scope(tenant.id):
        for message in OutboxMessage.objects.filter(topic="tenants.StandingChanged").values_list("id", flat=True):
            outbox.deliver(message, tenant.id)
    with tenant_scope(tenant.id):
        raised = Notification.objects.get(kind="standing")
    assert (raised.title, raised.body) == ("Your organisation is suspended", "Reason: Invoice 17 is open")
    assert "Forgot" not in text_of(console.get("/accounts/reauthenticate/"))
