"""A database of an earlier release migrates with its rows: nothing changes but what a migration states.

A world made by today's operations is copied into the older schema, column by column, and migrated; data outside that
schema must be derived again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from psycopg.rows import dict_row

from billing import queries
from billing.budgets import budgets, holds
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering import waivers
from billing.metering.metering import record_usage
from billing.money import Money
from billing.pricing import price_books, quotes
from compute.leases import leases
from compute.leases.messages import Heartbeat, Metric, Sample
from models_app.endpoints import endpoint_keys
from tenants import quotas
from tenants.access.actor import Actor
from tenants.audit.chain import link
from tenants.audit.verify import verify, verify_platform
from tenants.clock import now
from tenants.events import outbox
from tenants.identity import api_keys, invitations
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.conftest import SESSION
from tests.integration.compute.test_leases import World
from tests.support import factories, selling
from tests.support.endpoints import make_endpoint
from tests.support.servers.database import copy_database, logged_in
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nightly, pytest.mark.xdist_group("upgrade")]

Control = Callable[[], AbstractContextManager[None]]
NAME = "exchequer_upgraded"
#: The migrations of the first release.
BEFORE = {"tenants": "0004", "billing": "0003", "compute": "0003", "models_app": "0004"}
#: Written by migrations themselves, filled by Django, or given up: sessions of before end.
OWN = ("django_migrations", "django_content_type", "auth_permission", "django_session")
#: Changes of later migrations to existing rows.
CHANGED = {
    "tenants_membership": {"role"},
    "tenants_apikey": {"revoked_at", "expires_at", "created_by_id"},
    "tenants_invitation": {"revoked_at", "expires_at"},
    "models_app_endpointkey": {"revoked_at", "expires_at"},
}
#: Counted again from what is unfinished: `test_what_waits_gives_its_devices_back_and_reserves_its_time`.
AGAIN = ("tenants_quota", "tenants_quotareservation")
#: Price lists belonged to tenants, and prices to their meters; those columns went, and a book has its tenant's name.
#: What holds a device has a table of its own since attempts have members.
WENT = {
    "compute_device": {"taken_by"},
    "billing_pricebook": {"tenant_id", "name"},
    "billing_priceversion": {"tenant_id"},
    "billing_price": {"tenant_id", "meter_id"},
}
EARLIER_PRICES = {
    "billing_pricebook": ", (SELECT tenant_id FROM billing_contract c WHERE c.book_id = t.id)",
    "billing_priceversion": ", (SELECT tenant_id FROM billing_contract c WHERE c.book_id = t.book_id)",
    "billing_price": ", m.tenant_id, m.id",
}
#: Every line of a tenant's invoices, with all its digits, from either schema.
LINES = """
SELECT r.period, r.project_id, r.meter_id, r.price_id, p.unit_amount, v.number, sum(r.billable), sum(r.amount), round(sum(r.amount), 2)
FROM billing_usagerollup r LEFT JOIN billing_price p ON p.id = r.price_id LEFT JOIN billing_priceversion v ON v.id = p.version_id
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4
"""
#: What the older schema cannot hold of today's rows: limits of projects, people and months.
OLDER = "WHERE period = 'at_once'"
OLDER_ROWS = {"tenants_quota": f"{OLDER} AND project_id IS NULL AND person IS NULL", "tenants_quotareservation": OLDER}
#: Devices were counted as whole ones before they had shares.
COUNTED = {"tenants_quota": "in_use", "tenants_quotareservation": "amount"}
COLUMNS = """
SELECT c.relname, array_agg(quote_ident(a.attname) ORDER BY a.attname) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition GROUP BY 1
"""
HOURS = """
SELECT attempt_id, date_trunc('hour', at, 'UTC'), sum(seconds)::numeric(9, 3), sum(seconds * busy)::numeric(9, 3), max(memory_bytes)
FROM compute_devicesample GROUP BY 1, 2 ORDER BY 1, 2
"""
SUMMED = """
SELECT attempt_id, hour, sampled_s::numeric(9, 3), used_s::numeric(9, 3), peak_memory_bytes FROM compute_devicehour ORDER BY 1, 2
"""
EARLIER_ACTS = """
INSERT INTO tenants_operatoract (id, at, operator, operator_label, action, target_type, target_id, target_label, reason, ip, request_id)
SELECT gen_random_uuid(), exchequer_now() - n * interval '1 day', gen_random_uuid(), 'root@platform.example',
       'compute.device.cordoned', 'device', n::text, 'cpu-0', 'a fan – "loud"', '192.0.2.7', 'r' FROM generate_series(1, 3) n
"""
EARLIER_SAMPLES = """
INSERT INTO compute_devicesample (id, tenant_id, attempt_id, job_id, device_id, number, seconds, busy, memory_bytes, at)
SELECT gen_random_uuid(), tenant_id, attempt_id, job_id, device_id, number + 100 * n, seconds, busy, memory_bytes + n,
       at - n * interval '1 hour' FROM compute_devicesample, generate_series(1, 3) n
"""


@dataclass
class Before:
    """The older world: its tenant, its credentials by kind, its rows by table, and sums of its samples."""

    tenant: Tenant
    leaver: Actor
    back: Actor
    credentials: dict[str, UUID]
    rows: dict[str, list[str]] = field(default_factory=dict)
    origins: dict[str, Any] = field(default_factory=dict)
    hours: list[Any] = field(default_factory=list)
    roles: list[Any] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)


def columns(admin: psycopg.Connection) -> dict[str, set[str]]:
    return {name: set(found) for name, found in admin.execute(COLUMNS).fetchall() if name not in OWN}


def rows(admin: psycopg.Connection, table: str, names: set[str]) -> list[str]:
    """Return the rows of a table as text, which keeps every digit of an amount."""
    said = ", ".join(sorted(names))
    return sorted(row for (row,) in admin.execute(f"SELECT t::text FROM (SELECT {said} FROM {table}) t").fetchall())


def origins(admin: psycopg.Connection) -> dict[str, Any]:
    """Return the origin of each credential: membership and key, by id."""
    asked = " UNION ALL ".join(
        f"SELECT id, membership_id, parent_key_id FROM {table}"
        for table in ("tenants_apikey", "tenants_invitation", "models_app_endpointkey")
    )
    return {str(one): origin for one, *origin in admin.execute(asked).fetchall()}


def spent_and_promised(world: World) -> None:
    """Hold, settle, release, waive, quote and report: money of every kind, with amounts of many digits."""
    with tenant_scope(world.tenant.id):
        budgets.create_budget(actor=world.actor, amount=Decimal("123.456789"), at_limit="block_new")
        budgets.create_budget(actor=world.actor, project_id=world.project, amount=Decimal(50), at_limit="stop_running")
        asked = quotes.estimate(
            quotes.Work(project_id=world.project, meter="device_seconds", dims=DIMS, typical_s=10, worst_s=20)
        )
        quotes.bind(actor=world.actor, project_id=world.project, body={"a": 1}, estimate=asked)
        hold = holds.hold(project_id=world.project, subject="job:1", amount=Money(Decimal("0.987654321"), "EUR"))
        holds.hold(project_id=world.project, subject="job:2", amount=Money(Decimal("0.000000000007"), "EUR"))
        attempt, start = uuid4(), now() - timedelta(minutes=5)
        usage = interval(world.project, start, 61, job_id=uuid4(), attempt_id=attempt)
        record_usage([usage, interval(world.project, start, 7)], hold_id=hold)
        holds.release(hold_id=hold)
        waivers.waive_usage(attempt, reason="our fault")


def credentials(world: World, leaver: Actor, back: Actor) -> dict[str, UUID]:
    """Create keys, endpoint keys and invitations of people and keys; return their ids by kind."""
    tenant, owner = world.tenant, world.actor
    endpoint = make_endpoint(tenant).id
    made: dict[str, UUID] = {}
    for name, who in (("owner", owner), ("leaver", leaver), ("back", back)):
        end = now() + timedelta(days=30) if name == "owner" else None
        made[name] = api_keys.create_api_key(actor=who, name=name, scopes=sorted(who.permissions), expires_at=end).id
        key = Actor(
            kind="api_key", tenant_id=tenant.id, id=made[name], label=name, permissions=frozenset(who.permissions)
        )
        child = api_keys.create_api_key(actor=key, name="child", scopes=["tenant.view"], expires_at=end)
        made[f"key of {name}'s key"] = child.id
        for creator, actor in ((name, who), (f"{name}'s key", key)):
            email = f"{len(made)}@example.org"
            made[f"invitation of {creator}"] = invitations.invite(actor=actor, email=email, role="viewer").id
            made[f"endpoint key of {creator}"] = endpoint_keys.create(actor=actor, endpoint_id=endpoint, name="e").id
    return made


def world_of_today(as_control: Control, demo_clock: DemoClock) -> Before:
    world = World(as_control)
    with tenant_scope(world.tenant.id):
        selling.provision_defaults()
    mine = world.running()
    samples = [Sample(0.5, 1.0, 7), Sample(0.5, 0.25, 9)]
    leases.heartbeat(
        mine, Heartbeat(elapsed=0.1, metrics=[Metric(1, {"loss": 0.5})], logs=[(0, "one")], samples=samples)
    )
    quotas.set_limit(actor=world.actor, resource="devices:cpu", limit=4)
    world.submit()
    demo_clock.advance(timedelta(hours=1))  # usage before the first price would be free
    spent_and_promised(world)
    leaver, back = (factories.actor_for(world.tenant, "admin") for _ in range(2))
    made = credentials(world, leaver, back)
    with as_control():
        outbox.drain(world.tenant.id)
    return Before(world.tenant, leaver, back, made)


def rechain(old: psycopg.Connection) -> None:
    """Write the chain as version 1, which had fewer fields."""
    heads: dict[UUID, tuple[int, bytes]] = {}
    old.execute("UPDATE tenants_auditentry SET schema_version = 1")
    with old.cursor(row_factory=dict_row) as cursor:
        entries = cursor.execute("SELECT * FROM tenants_auditentry ORDER BY tenant_id, seq").fetchall()
    for entry in entries:
        previous = heads.get(entry["tenant_id"], (0, bytes(32)))[1]
        heads[entry["tenant_id"]] = entry["seq"], link(previous, entry)
        values = [previous, link(previous, entry), entry["id"]]
        old.execute("UPDATE tenants_auditentry SET prev_hash = %s, hash = %s WHERE id = %s", values)
    for tenant_id, head in heads.items():
        old.execute("UPDATE tenants_audithead SET seq = %s, hash = %s WHERE tenant_id = %s", [*head, tenant_id])


def lay(source: psycopg.Connection, old: psycopg.Connection, before: Before) -> None:
    """Copy what the older schema has columns for, then let one person leave, and a former member return."""
    here, there = columns(source), columns(old)
    old.execute("SET session_replication_role = replica")
    old.execute("ALTER TABLE tenants_membership ALTER role SET DEFAULT 'viewer'")
    for table in sorted(set(here) & set(there)):
        names = sorted(here[table] & there[table])
        said = ", ".join(names)
        old.execute(f"DELETE FROM {table}")
        given = ", ".join(f"{name}::bigint" if name == COUNTED.get(table) else name for name in names)
        query = f"SELECT {given} FROM {table} {OLDER_ROWS.get(table, '')}"
        if table in EARLIER_PRICES:
            of = ", ".join(f"t.{name}" for name in names)
            meters = "JOIN billing_meter m ON m.key = t.meter" if table == "billing_price" else ""
            query = f"SELECT {of}{EARLIER_PRICES[table]} FROM {table} t {meters}"
            said += "".join(f", {name}" for name in ("tenant_id", "meter_id") if name in WENT[table])
        with (
            source.cursor().copy(f"COPY ({query}) TO STDOUT") as out,
            old.cursor().copy(f"COPY {table} ({said}) FROM STDIN") as into,
        ):
            for data in out:
                into.write(data)
    for holder, device in source.execute("SELECT holder, device_id FROM compute_devicehold").fetchall():
        old.execute("UPDATE compute_device SET taken_by = %s WHERE id = %s", [holder, device])
    # Jobs held a device of the quota from their launch on.
    for (job_id,) in source.execute("SELECT id FROM compute_job WHERE state = 'queued'").fetchall():
        held = "SELECT gen_random_uuid(), id, 'devices:cpu', %s, 1 FROM tenants_tenant WHERE id = %s"
        into = "INSERT INTO tenants_quotareservation (id, tenant_id, resource, subject, amount)"
        old.execute(f"{into} {held}", [f"job:{job_id}", before.tenant.id])
        old.execute("UPDATE tenants_quota SET in_use = in_use + 1 WHERE resource = 'devices:cpu'")
    rechain(old)
    # Today a role is a grant.
    direct = "SELECT built_in, membership_id FROM tenants_grant WHERE project_id IS NULL"
    for role, member in source.execute(direct).fetchall():
        old.execute("UPDATE tenants_membership SET role = %s WHERE id = %s", [role, member])
    old.execute("ALTER TABLE tenants_membership ALTER role DROP DEFAULT")
    old.execute("DELETE FROM tenants_membership WHERE user_id = %s", [before.leaver.id])
    old.execute(
        "UPDATE tenants_membership SET id = gen_random_uuid(), created_at = exchequer_now() WHERE user_id = %s",
        [before.back.id],
    )
    # Before credentials had parents nothing shortened them.
    for table in ("tenants_apikey", "tenants_invitation"):
        old.execute(f"UPDATE {table} SET expires_at = NULL WHERE id = %s", [before.credentials["key of owner's key"]])
    old.execute(EARLIER_SAMPLES)
    old.execute(EARLIER_ACTS)
    old.execute("SET session_replication_role = DEFAULT")
    before.roles = old.execute("SELECT id, role FROM tenants_membership ORDER BY id").fetchall()
    before.rows = {table: rows(old, table, names - WENT.get(table, set())) for table, names in there.items()}
    before.hours = old.execute(HOURS).fetchall()
    before.lines = old.execute(LINES).fetchall()
    before.origins = origins(source)


@pytest.fixture(scope="session")
def upgraded() -> Iterator[dict[str, Any]]:
    """What is known of the database that the first of these tests creates; tests of other modules run between them."""
    yield {}
    with SESSION.cluster.superuser("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


@pytest.fixture
def before(
    upgraded: dict[str, Any], as_control: Control, demo_clock: DemoClock, superuser: psycopg.Connection
) -> Before:
    """The older world, whose database is migrated now."""
    if "before" not in upgraded:
        with SESSION.cluster.superuser("postgres") as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
            copy_database(admin, NAME, "template1")
        SESSION.cluster.grant(NAME)
        with logged_in(SESSION.cluster, NAME, "exchequer_owner"):
            for app, migration in BEFORE.items():
                call_command("migrate", app, migration, verbosity=0, interactive=False)
            for app in ("sessions", "guardian", "account"):
                call_command("migrate", app, verbosity=0, interactive=False)
        found = world_of_today(as_control, demo_clock)
        with SESSION.cluster.superuser(NAME) as old:
            upgraded["columns"] = columns(old)
            lay(superuser, old, found)
        with logged_in(SESSION.cluster, NAME, "exchequer_owner"):
            call_command("migrate", verbosity=0, interactive=False)
        upgraded["before"] = found
    return upgraded["before"]  # type: ignore[no-any-return]


@pytest.fixture
def after() -> Iterator[psycopg.Connection]:
    with SESSION.cluster.superuser(NAME) as admin:
        yield admin


def test_a_migration_keeps_every_value_to_the_last_digit(
    before: Before, upgraded: dict[str, Any], after: psycopg.Connection
) -> None:
    filled = {table for table, found in before.rows.items() if found}
    assert {"billing_usageevent", "billing_ledgerposting", "billing_hold", "billing_quote"} <= filled
    assert {"compute_devicesample", "compute_joblog", "compute_jobmetric", "tenants_auditentry"} <= filled
    for table, names in upgraded["columns"].items():
        if table in CHANGED or table in AGAIN:
            continue
        assert rows(after, table, names - WENT.get(table, set())) == before.rows[table], table
    for table, changed in CHANGED.items():
        assert len(rows(after, table, upgraded["columns"][table] - changed)) == len(before.rows[table])


def test_what_waits_gives_its_devices_back_and_reserves_its_time(before: Before, after: psycopg.Connection) -> None:
    scope = "CASE WHEN project_id IS NOT NULL THEN 'project' WHEN person IS NOT NULL THEN 'person' ELSE 'tenant' END"
    found = after.execute(
        f"SELECT resource, period, {scope}, \"limit\", in_use FROM tenants_quota WHERE starts_with(resource, 'device') "
        "ORDER BY resource, 3"
    ).fetchall()
    hours, devices = found[:3], found[3:6]
    assert devices == [
        ("devices:cpu", "at_once", "person", None, 1),
        ("devices:cpu", "at_once", "project", None, 1),
        ("devices:cpu", "at_once", "tenant", 4, 1),
    ]
    running, queued = 100 + 10 - 1, 100 + 10
    assert [row[2:] for row in hours] == [(scope, None, running + queued) for scope in ("person", "project", "tenant")]
    assert {row[:2] for row in hours} == {("device_hours:cpu", "month")}


def test_migrated_money_balances_and_its_audit_chain_verifies(before: Before) -> None:
    with logged_in(SESSION.cluster, NAME, "exchequer_control"):
        operators = verify_platform()
    assert (operators.ok, operators.entries) == (True, 3)
    with logged_in(SESSION.cluster, NAME, "exchequer_app"), tenant_scope(before.tenant.id):
        with connection.cursor() as cursor:
            cursor.execute("SELECT sum(amount), count(*) FILTER (WHERE kind = 'waiver') FROM billing_usageevent")
            amount, waived = cursor.fetchone()
        assert amount > 0
        assert waived
        assert [str(fault) for fault in (*ledger_faults(), *reconcile_faults())] == []
        assert verify().ok


def test_every_price_list_is_a_book_of_the_platform_under_a_contract_and_no_line_changes(
    before: Before, after: psycopg.Connection
) -> None:
    assert after.execute(LINES).fetchall() == before.lines
    assert any(line[7] for line in before.lines)
    contract = after.execute(
        "SELECT c.tenant_id, b.name, c.currency, b.is_standard, c.ends_on, c.starts_on <= min(v.effective_at)::date "
        "FROM billing_contract c JOIN billing_pricebook b ON b.id = c.book_id JOIN billing_priceversion v ON v.book_id = b.id "
        "GROUP BY c.id, b.id"
    ).fetchall()
    assert contract == [(before.tenant.id, before.tenant.name, "EUR", False, None, True)]
    unknown = after.execute(
        "SELECT p.id FROM billing_price p LEFT JOIN billing_meter m ON m.key = p.meter WHERE m.id IS NULL"
    )
    assert unknown.fetchall() == []
    with logged_in(SESSION.cluster, NAME, "exchequer_app"), tenant_scope(before.tenant.id):
        assert [book.name for book in queries.price_books()] == [before.tenant.name]
        assert price_books.price_at("device_seconds", DIMS, now() - timedelta(minutes=1)).unit_amount > 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT price_id FROM billing_quote")
            assert {price for (price,) in cursor.fetchall()} <= {
                price.id for version in queries.price_books()[0].versions for price in version.prices
            }


def test_migrated_credentials_descend_and_end_like_new_ones(before: Before, after: psycopg.Connection) -> None:
    names = {str(one): name for name, one in before.credentials.items()}
    found = origins(after)
    of_owner = {one: found[one] for one, name in names.items() if "owner" in name}
    assert of_owner == {one: before.origins[one] for one in of_owner}
    ended = {}
    for table in ("tenants_apikey", "tenants_invitation", "models_app_endpointkey"):
        ended |= {str(one): end for one, end in after.execute(f"SELECT id, revoked_at FROM {table}").fetchall()}
    assert {name for one, name in names.items() if ended[one] is None} == {names[one] for one in of_owner}
    (end,) = after.execute("SELECT expires_at FROM tenants_apikey WHERE name = 'owner'").fetchone()  # type: ignore[misc]
    heirs = [before.credentials[name] for name in ("key of owner's key", "endpoint key of owner's key")]
    shortened = after.execute(
        "SELECT expires_at FROM tenants_apikey WHERE id = ANY (%(ids)s) UNION ALL "
        "SELECT expires_at FROM models_app_endpointkey WHERE id = ANY (%(ids)s)",
        {"ids": heirs},
    ).fetchall()
    assert shortened == [(end,), (end,)]


def test_the_role_of_each_member_is_a_grant(before: Before, after: psycopg.Connection) -> None:
    asked = "SELECT membership_id, built_in FROM tenants_grant WHERE num_nonnulls(role_id, project_id, expires_at) = 0"
    assert after.execute(f"{asked} ORDER BY membership_id").fetchall() == before.roles
    assert {role for _, role in before.roles} == {"owner", "admin"}


def test_migrated_samples_are_summed_by_the_hour(before: Before, after: psycopg.Connection) -> None:
    assert len(before.hours) >= 4
    assert after.execute(SUMMED).fetchall() == before.hours
