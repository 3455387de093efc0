"""A look inside a tenant ends with what lets its operator in, and by its time; nothing makes it longer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from tenants import exports, tasks
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, BreakGlass, OperatorAct, OperatorSession, Tenant, TenantExport
from tenants.operators.glass import ending
from tests.api.tenants.console.test_break_glass import opened, ticket_of
from tests.support import factories

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
SUPPORT = "platform_support@platform.example"


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("vision", owner="owner@vision.example")


@pytest.fixture
def support(seller: Any) -> Any:
    """The console of an operator of the support."""
    browser = seller("platform_support")
    browser.email = "platform_support@platform.example"
    return browser


@pytest.fixture
def look(support: Any, seller: Any, tenant: Tenant) -> Client:
    """A browser in which the support looks inside for an hour; it asks for a second look that waits."""
    asked = {"reason": "Ticket 4711: jobs fail", "minutes": "60"}
    assert support.post(f"/tenants/{tenant.id}/look-inside/", asked).status_code == 302
    with tenant_scope(tenant.id):
        row = BreakGlass.objects.get()
    assert seller("platform_admin").post(f"/looks/{row.id}/answer/", {"answer": "approve"}).status_code == 302
    browser = opened(ticket_of(support, tenant))
    assert browser.get("/t/vision/jobs/").status_code == 200
    assert support.post(f"/tenants/{tenant.id}/look-inside/", asked).status_code == 302
    return browser


def ended(tenant: Tenant) -> list[str]:
    """Return the reasons for which looks ended, as the tenant's log has them."""
    with tenant_scope(tenant.id):
        rows = AuditEntry.objects.filter(action="tenants.break_glass.ended").order_by("seq")
        return list(rows.values_list("reason", flat=True))


COMMANDS = {
    "dismissed": ["--revoke"],
    "one role fewer": ["--revoke", "--role", "platform_support"],
    "a new password": ["--set-password", "quite another password 7"],
    "no second factor": ["--reset-second-factor"],
}


@pytest.mark.parametrize("how", COMMANDS)
def test_a_command_that_lets_an_operator_in_no_more_ends_their_looks(
    how: str, look: Client, tenant: Tenant, as_control: Role, console: Role
) -> None:
    with as_control():
        if how == "one role fewer":
            call_command("operator", SUPPORT, "--role", "platform_finance")
        call_command("operator", SUPPORT, *COMMANDS[how])
    assert look.get("/t/vision/jobs/").status_code == 403
    with tenant_scope(tenant.id):
        assert not BreakGlass.objects.filter(ended_at=None).exists(), "the one that waits ends, too"
    assert ended(tenant) == [ending.BY_ACCESS] * 2
    with console():
        acts = OperatorAct.objects.filter(action="tenants.break_glass.ended")
        assert [act.operator_label for act in acts] == ["manage.py operator"] * 2


@pytest.mark.parametrize("how", ["logged out", "a new password"])
def test_who_leaves_the_console_leaves_their_looks(how: str, look: Client, support: Any, tenant: Tenant) -> None:
    if how == "logged out":
        assert support.post("/accounts/logout/").status_code == 302
    else:
        chosen = "quite another password 7"
        form = {"oldpassword": factories.PASSWORD, "password1": chosen, "password2": chosen}
        assert support.post("/accounts/password/change/", form).status_code == 302
    assert look.get("/t/vision/jobs/").status_code == 403
    assert len(ended(tenant)) == 2


def test_the_database_shows_nothing_without_a_session_at_the_console_and_the_end_is_written_once(
    look: Client, tenant: Tenant, as_control: Role
) -> None:
    with as_control():
        OperatorSession.objects.all().delete()
    assert look.get("/t/vision/jobs/").status_code == 403
    with as_control():
        for _ in range(2):
            tasks.send_platform_events()
    assert ended(tenant) == [ending.BY_ACCESS]


def test_the_end_by_time_is_written_once(look: Client, tenant: Tenant, demo_clock: Any, as_control: Role) -> None:
    with as_control():
        tasks.send_platform_events()
    assert ended(tenant) == []
    demo_clock.advance(timedelta(minutes=61))
    with as_control():
        for _ in range(2):
            tasks.send_platform_events()
    assert ended(tenant) == [ending.BY_TIME]
    with tenant_scope(tenant.id):
        row = BreakGlass.objects.exclude(ends_at=None).get()
        assert row.ended_at == row.ends_at


LONGER = {
    "a later end": "ends_at = ends_at + interval '1 minute'",
    "no end": "ends_at = NULL, ended_at = NULL",
    "more minutes": "minutes = 240",
    "another answer": "answered_by = gen_random_uuid()",
    "an end of a waiting one": "ends_at = exchequer_now() + interval '2 hours', answered_by = gen_random_uuid()",
}


@pytest.mark.parametrize("how", LONGER)
def test_the_consoles_database_role_makes_no_look_longer(how: str, look: Client, tenant: Tenant, console: Role) -> None:
    which = "IS NULL" if "waiting" in how else "IS NOT NULL"
    with console(), tenant_scope(tenant.id), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(f"UPDATE tenants_breakglass SET {LONGER[how]} WHERE ends_at {which}")


def test_the_consoles_database_role_reopens_no_look(look: Client, tenant: Tenant, support: Any, console: Role) -> None:
    support.post("/accounts/logout/")
    with console(), tenant_scope(tenant.id), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute("UPDATE tenants_breakglass SET ended_at = NULL")


def test_an_order_of_who_is_let_in_no_more_is_not_built(seller: Any, tenant: Tenant, as_control: Role) -> None:
    admin = seller("platform_admin")
    assert admin.post(f"/tenants/{tenant.id}/export/", {"reason": "They asked for it"}).status_code == 302
    with tenant_scope(tenant.id):
        assert TenantExport.objects.get().state == "queued"
    with as_control():
        call_command("operator", "platform_admin@platform.example", "--revoke")
    with tenant_scope(tenant.id):
        row = TenantExport.objects.get()
        assert row.state == "failed"
        assert AuditEntry.objects.filter(action="tenants.export.ended").count() == 1
        assert "let in no more" in row.message
    built = exports.Built(name="x", sha256="x", size=1, rows=1)
    with as_control(), pytest.raises(exports.ExportEnded):
        exports.finish(actor=Actor.system(tenant.id, "export"), export_id=row.id, built=built)
