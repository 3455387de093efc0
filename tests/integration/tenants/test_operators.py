"""The two sides in the database: what the console sees of tenants, and nothing of it seen by them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.test import Client

from billing.budgets import holds
from billing.metering.metering import record_usage
from billing.money import Money
from compute.devices.base import Found
from compute.fleet import fleet, nodes
from compute.models import Device
from tenants import operations
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events import outbox
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import (
    AuditEntry,
    OperatorAct,
    OperatorGrant,
    OperatorHead,
    OperatorKey,
    OperatorSession,
    TenantDigest,
    User,
)
from tenants.operators import grants, tenant_metrics
from tenants.operators.log import queries as log
from tenants.operators.operator import Operator
from tests.support import factories
from tests.support.usage import interval

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
EVERYTHING = ("platform_admin", "platform_finance", "platform_support")


@pytest.fixture
def operator(as_control: Role) -> Operator:
    with as_control():
        grants.grant("root@platform.example", "platform_admin", password=factories.PASSWORD)
        user = User.objects.get(email="root@platform.example")
    return Operator(id=user.id, label=user.email, roles=("platform_admin",), ip="192.0.2.7", request_id="abc")


@pytest.fixture
def device() -> Iterator[Device]:
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 2**30)]
    nodes.register(name="atlas", hostname="atlas", boot=uuid4(), found=found, missing_layers=["own network"])
    return Device.objects.get(node__name="atlas")  # type: ignore[return-value]


def denied(statement: str) -> bool:
    """Return whether the database refuses a statement of the present role for lack of a right."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        return isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege)
    return False


def test_figures_of_tenants_are_the_consoles_alone(as_control: Role, as_operator: Role) -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    with as_control():
        for tenant in (ours, theirs):
            outbox.drain(tenant.id)
        project = factories.default_project_id(ours)
        with tenant_scope(ours.id):
            held = holds.hold(project_id=project, subject="job:1", amount=Money(Decimal(1), "EUR"))
            record_usage([interval(project, now(), 30)], hold_id=held)
        assert tenant_metrics.refresh() == 2
    assert denied("SELECT FROM tenants_tenantdigest")
    with as_operator():
        rows = {row.slug: row for row in tenant_metrics.digests()}
        assert set(rows) == {"ours", "theirs"}
        assert rows["ours"].month_spend > 0
        assert (rows["theirs"].month_spend, rows["ours"].members, rows["ours"].running_jobs) == (Decimal(0), 1, 0)
        assert [row.tenants for row in tenant_metrics.totals()] == [2]
        assert [(row.currency, row.cost > 0, row.before) for row in tenant_metrics.months()] == [
            ("EUR", True, Decimal(0))
        ]
        with pytest.raises(DatabaseError), transaction.atomic():
            TenantDigest.objects.update(name="forged")


def test_the_stalest_tenants_come_first(as_control: Role, as_operator: Role) -> None:
    made = [factories.make_tenant(f"tenant-{n}") for n in range(3)]
    with as_control():
        assert tenant_metrics.refresh(limit=2) == 2
        assert tenant_metrics.refresh(limit=1) == 1
    with as_operator():
        assert {row.tenant_id for row in tenant_metrics.digests()} == {tenant.id for tenant in made}
        assert [row.slug for row in tenant_metrics.digests(after="tenant-0", limit=1)] == ["tenant-1", "tenant-2"]


def test_a_tenant_whose_metrics_fail_holds_up_no_other(
    as_control: Role, as_operator: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = (factories.make_tenant(slug).id for slug in ("first", "second"))

    def source() -> dict[str, int]:
        assert current_tenant_id() != bad
        return {}

    monkeypatch.setattr(tenant_metrics, "_sources", {source: frozenset()})
    with as_control(), pytest.raises(SweepFailed):
        tenant_metrics.refresh(limit=1)
    with as_operator():
        assert [row.tenant_id for row in tenant_metrics.digests()] == [good]


def test_each_side_has_accounts_of_its_own_with_one_address(operator: Operator, as_operator: Role) -> None:
    person = factories.make_user(operator.label, password="another long password")
    assert [user.id for user in User.objects.all()] == [person.id]
    assert User.objects.filter(id=operator.id).update(password="taken over") == 0
    with pytest.raises(DatabaseError), transaction.atomic():
        User.objects.create_user("eve@example.org", None, is_operator=True)
    with pytest.raises(DatabaseError), transaction.atomic():
        User.objects.filter(id=person.id).update(is_operator=True)
    with pytest.raises(DatabaseError), transaction.atomic():
        Authenticator.objects.create(user_id=operator.id, type="totp", data={})
    with as_operator():
        assert [user.id for user in User.objects.all()] == [operator.id]
        assert User.objects.filter(id=person.id).update(password="taken over") == 0
        with pytest.raises(DatabaseError), transaction.atomic():
            User.objects.filter(id=operator.id).update(is_operator=False)
        with pytest.raises(DatabaseError), transaction.atomic():
            Authenticator.objects.create(user_id=person.id, type="totp", data={})
        Authenticator.objects.create(user_id=operator.id, type="totp", data={})
    assert Authenticator.objects.count() == 0


def test_tenants_reach_no_table_of_the_console(operator: Operator) -> None:
    for model in (OperatorAct, OperatorGrant, OperatorHead, OperatorKey, OperatorSession, TenantDigest):
        table = model._meta.db_table
        for statement in (f"SELECT FROM {table}", f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES"):
            assert denied(statement), statement
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_has_role('exchequer_app', 'exchequer_operator', 'MEMBER'), "
            "pg_has_role('exchequer_operator', 'exchequer_app', 'MEMBER')"
        )
        assert cursor.fetchone() == (False, False)


def test_a_tenant_does_not_change_its_own_standing(as_operator: Role) -> None:
    tenant = factories.make_tenant("ours")
    with tenant_scope(tenant.id):
        for change in ("standing = 'active'", "standing_reason = ''", "closes_at = NULL", "currency = 'USD'"):
            assert denied(f"UPDATE tenants_tenant SET {change}"), change


def test_of_a_tenants_log_the_console_sees_and_writes_its_own_entries(as_operator: Role) -> None:
    tenant = factories.make_tenant("ours")
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.count() > 0
    with as_operator(), tenant_scope(tenant.id):
        assert AuditEntry.objects.count() == 0
        with pytest.raises(DatabaseError), transaction.atomic():
            AuditEntry.objects.create(seq=99, actor_type="user", actor_label="owner1@example.org", action="a.b.c")


def test_only_the_command_makes_operators(as_control: Role, as_operator: Role, capsys: Any) -> None:
    with as_control():
        with pytest.raises(CommandError, match="No operator"):
            call_command("operator", "ana@example.org")
        with pytest.raises(CommandError, match="platform_admin, platform_finance, platform_support"):
            call_command("operator", "ana@example.org", "--role", "root", "--password", "long enough")
        call_command("operator", "ana@example.org", "--password", "long enough")
        call_command("operator", "ana@example.org", "--role", "platform_finance")
        call_command("operator", "ana@example.org", "--role", "platform_finance")
        call_command("operator")
    said = capsys.readouterr().out
    assert "ana@example.org is platform_admin\n" in said
    assert "is platform_finance (nothing was changed)" in said
    assert "ana@example.org  platform_admin, platform_finance" in said
    ana = {"user_id": None}
    with as_operator():
        ana["user_id"] = User.objects.get().id
        for change in ("INSERT INTO tenants_operatorgrant DEFAULT VALUES", "DELETE FROM tenants_operatorgrant"):
            assert denied(change)
        OperatorSession.objects.create(session_key="k", session_data="", expire_date=now(), **ana)
    with as_control():
        call_command("operator", "ana@example.org", "--revoke")
        assert [row.roles for row in grants.operators()] == [()]
        actions = list(OperatorAct.objects.order_by("id").values_list("action", "operator_label"))
    assert [action.rsplit(".", 1)[1] for action, _ in actions] == ["appointed", "appointed", "dismissed"]
    assert {label for _, label in actions} == {"manage.py operator"}
    with as_operator():
        assert OperatorSession.objects.count() == 0, "who has no role has no session"


FORGERIES = (
    "UPDATE tenants_operatoract SET reason = 'because' WHERE seq = 1",
    "UPDATE tenants_operatoract SET outcome = 'refused' WHERE seq = 2",
    "DELETE FROM tenants_operatoract WHERE seq = 2",
    "DELETE FROM tenants_operatoract WHERE seq = 3",
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_operator_log_is_a_chain_that_the_command_verifies(
    forgery: str, as_control: Role, as_operator: Role, superuser: psycopg.Connection, capsys: Any
) -> None:
    with as_control():
        for role in ("platform_admin", "platform_finance", "platform_support"):
            grants.grant("ana@example.org", role, password=factories.PASSWORD)
        call_command("verify_audit", "--database-only")
    assert "operator log: 3 entries, the chain is valid" in capsys.readouterr().out
    with as_operator():
        for statement in ("UPDATE tenants_operatoract SET reason = ''", "DELETE FROM tenants_operatoract"):
            assert denied(statement)
    superuser.execute("SET session_replication_role = replica")
    superuser.execute(forgery)
    with as_control(), pytest.raises(CommandError, match=r"operator log: (entry|the log ends at entry) "):
        call_command("verify_audit", "--database-only")


def test_a_cordon_is_logged_with_its_reason(operator: Operator, device: Device, as_operator: Role) -> None:
    with as_operator():
        for reason in ("", "  ", "no", "x" * 401):
            with pytest.raises(Invalid):
                fleet.cordon(operator=operator, device_id=device.id, reason=reason)
        support = Operator(id=operator.id, label=operator.label, roles=("platform_support", "platform_finance"))
        with pytest.raises(PermissionDenied):
            fleet.cordon(operator=support, device_id=device.id, reason="Fan fails")
        fleet.cordon(operator=operator, device_id=device.id, reason="Fan  fails")
        with pytest.raises(Conflict):
            fleet.cordon(operator=operator, device_id=device.id, reason="again")
        with pytest.raises(NotFound):
            fleet.cordon(operator=operator, device_id=uuid4(), reason="missing")
        (node,) = fleet.nodes()
        assert (node.state, node.devices[0].state, node.devices[0].state_reason) == ("alive", "cordoned", "Fan fails")
        assert node.missing_layers[0].startswith("own network")
        fleet.uncordon(operator=operator, device_id=device.id, reason="New fan")
        acts = log.acts()
        assert [(act.action, act.reason) for act in acts[:2]] == [
            ("compute.device.uncordoned", "New fan"),
            ("compute.device.cordoned", "Fan fails"),
        ]
        assert acts[0].operator_label == operator.label
        for change in ("UPDATE tenants_operatoract SET reason = 'x'", "DELETE FROM tenants_operatoract"):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(change)


def test_the_tenants_side_has_no_page_of_the_console(operator: Operator) -> None:
    owner = factories.make_member(factories.make_tenant(), "owner")
    client = Client()
    client.force_login(owner)
    for path in ("/operator/", "/operator/tenants/", "/tenants/", "/fleet/", "/log/", "/api/operator/v1/tenants/"):
        assert client.get(path).status_code == 404, path


def test_the_webs_role_makes_no_tenant() -> None:
    with pytest.raises(ProgrammingError, match="permission denied for table tenants_tenant"), transaction.atomic():
        operations.create_tenant(name="Own", slug="own", email="own@example.org", password=None)
    assert not User.objects.filter(email="own@example.org").exists()
