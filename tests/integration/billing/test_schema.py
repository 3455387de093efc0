"""What the database itself refuses in billing's tables, whatever the code does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction

from billing import queries
from billing.budgets import budgets, holds
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, HELD, LedgerAccount, LedgerEntry, Posting
from billing.metering.metering import record_usage
from billing.models import Price, PriceVersion, UsageEvent
from billing.money import Money
from billing.usage import partitions
from tenants import clock
from tenants.isolation.scoping import tenant_scope
from tenants.models import PlatformEvent
from tests.support import selling
from tests.support.factories import in_tenant, make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

INSERT = """
INSERT INTO billing_usageevent (tenant_id, series_hash, started_at, key_hash, part, ended_at, kind, period, day,
  meter_id, project_id, price_id, measured, billable, amount)
VALUES (%(tenant)s, '\\x00', %(start)s, '\\x00', 0, %(end)s, %(kind)s, %(period)s, %(day)s,
  gen_random_uuid(), gen_random_uuid(), %(price)s, %(measured)s, %(billable)s, %(amount)s)
"""


def sql(statement: str, arguments: Any = None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, arguments)


@pytest.mark.django_db
def test_every_partition_of_usage_has_row_security_and_no_grants() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, "
            "has_table_privilege('exchequer_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') "
            "OR has_table_privilege('exchequer_control', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'), "
            "(SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL) "
            "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'billing_usageevent'::regclass"
        )
        found = cursor.fetchall()
    assert len(found) >= 5
    assert [name for name, forced, granted, policies in found if not forced or granted or policies != 1] == []


@pytest.mark.django_db
def test_b8_unsound_usage_is_refused_by_raw_sql() -> None:
    tenant = make_tenant()
    with in_tenant(tenant):
        now = clock.now()
        day = now.date()
        sound = {
            "tenant": tenant.id, "start": now - timedelta(seconds=5), "end": now, "kind": "usage", "period": day.replace(day=1),
            "day": day, "price": uuid4(), "measured": 5, "billable": 5, "amount": 1,
        }  # fmt: skip
        unsound: list[dict[str, Any]] = [
            {"measured": 0, "billable": 0},
            {"measured": -5, "billable": -5},
            {"measured": Decimal("NaN")},
            {"amount": Decimal("NaN")},
            {"amount": -1},
            {"billable": 6},
            {"billable": -1},
            {"end": now - timedelta(seconds=5)},
            {"end": now - timedelta(seconds=6)},
            {"start": now - timedelta(hours=24, microseconds=1)},
            {"end": now + timedelta(minutes=6)},
            {"kind": "credit"},
            {"kind": "waiver"},
            {"kind": "waiver", "measured": 0, "billable": 0, "amount": 1},
            {"price": None},
            {"period": day.replace(day=2)},
            {"day": (now + timedelta(days=40)).date()},
        ]
        for change in unsound:
            with pytest.raises(IntegrityError):
                sql(INSERT, sound | change)
        for infinite in ("Infinity", "-Infinity"):
            with pytest.raises(DatabaseError):
                sql(INSERT, sound | {"amount": infinite})
        timed = INSERT.replace("(tenant_id,", "(recorded_at, tenant_id,").replace("(%(tenant)s", "({}, %(tenant)s")
        for forged in ("now() - interval '1 microsecond'", "clock_timestamp() + interval '1 minute'", "'epoch'"):
            with pytest.raises(IntegrityError):
                sql(timed.format(forged), sound)
        sql(timed.format("exchequer_now()"), sound)
        sql(INSERT, {**sound, "start": now - timedelta(seconds=6)})
        assert UsageEvent.objects.count() == 2


@pytest.mark.django_db
def test_b5_published_prices_are_neither_edited_nor_removed_nor_dated_back() -> None:
    tenant = make_tenant()
    with in_tenant(tenant):
        selling.provision_defaults()
        version = PriceVersion.objects.get()
        for name in ("exchequer_app", "exchequer_control", "exchequer_operator"):
            for statement in (
                "UPDATE billing_price SET unit_amount = 0",
                "DELETE FROM billing_price",
                "DELETE FROM billing_priceversion",
                "UPDATE billing_pricebook SET currency = 'USD'",
            ):
                with selling.role(name), pytest.raises(DatabaseError):
                    sql(statement)
        for late in (timedelta(minutes=-1), timedelta(minutes=4)):
            with (
                selling.role("exchequer_operator"),
                pytest.raises(IntegrityError, match="prices never start in the past"),
                transaction.atomic(),
            ):
                PriceVersion.objects.create(
                    book=version.book, number=2, effective_at=clock.now() + late, published_by="x"
                )


@pytest.mark.django_db(transaction=True)
def test_b5_a_published_version_takes_no_more_prices_and_even_its_owner_cannot_edit_it(
    superuser: psycopg.Connection,
) -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        selling.provision_defaults()
    with tenant_scope(tenant.id):
        price = Price.objects.first()
        assert price is not None
        with (
            selling.role("exchequer_operator"),
            pytest.raises(IntegrityError, match="takes no more prices"),
            transaction.atomic(),
        ):
            Price.objects.create(version=price.version, meter=price.meter, dims={"tier": "gift"}, unit_amount=0)
    with pytest.raises(psycopg.errors.IntegrityError, match="never changed"):
        superuser.execute("UPDATE billing_price SET unit_amount = 0")


@pytest.mark.django_db
def test_b1_an_unbalanced_posting_does_not_commit() -> None:
    tenant = make_tenant()
    with in_tenant(tenant):
        leg = Posting(HELD, LedgerAccount("project", uuid4()), "EUR", Decimal("0.000000000001"))
        for legs in ([leg], [leg, Posting(AVAILABLE, leg.ledger_account, "USD", -leg.amount)]):
            with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
                ledger.post(LedgerEntry("hold", date(2026, 1, 1), legs))
        for statement in ("UPDATE billing_ledgerposting SET amount = 0", "DELETE FROM billing_ledgertransaction"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                sql(statement)


@pytest.mark.django_db(transaction=True)
def test_usage_of_a_month_without_a_partition_is_stored_and_moves_when_it_gets_one(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock, superuser: psycopg.Connection
) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    start = datetime(2031, 7, 31, 23, 50, tzinfo=UTC)
    demo_clock.move_to(start - timedelta(hours=1))
    with tenant_scope(tenant.id):
        selling.provision_defaults()
    demo_clock.move_to(start + timedelta(hours=1))
    with tenant_scope(tenant.id):
        record_usage([interval(project.id, start, 1800)])
        assert UsageEvent.objects.count() == 3
    with pytest.raises(ProgrammingError):
        partitions.ensure(date(2031, 7, 1), date(2031, 8, 1))
    with as_control():
        assert partitions.ensure(date(2031, 7, 1), date(2031, 8, 1)) == 2
        assert partitions.ensure(date(2031, 7, 1), date(2031, 8, 1)) == 0
    count = superuser.execute(
        "SELECT tableoid::regclass::text, count(*) FROM billing_usageevent GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert count == [("billing_usageevent_2031_07", 1), ("billing_usageevent_2031_08", 2)]
    with tenant_scope(tenant.id):
        assert UsageEvent.objects.count() == 3
        record_usage([interval(project.id, start + timedelta(seconds=1800), 60)])
    with as_control():
        partitions.ensure_ahead()
        call_command("reconcile")
        call_command("verify_ledger", "--tenant", tenant.slug)


PLANTED = {
    "UPDATE billing_usagerollup SET amount = amount + 0.000000000001": ("reconcile", "roll-ups"),
    "UPDATE billing_usageevent SET amount = 0 WHERE ctid IN (SELECT ctid FROM billing_usageevent LIMIT 1)": (
        "reconcile",
        "intervals sum to roll-ups",
    ),
    "UPDATE billing_usageevent SET amount = amount * 2; UPDATE billing_usagerollup SET amount = amount * 2": (
        "reconcile",
        "quantity times price",
    ),
    "DELETE FROM billing_usagekey": ("reconcile", "every interval has its usage key"),
    "DELETE FROM billing_usageevent; DELETE FROM billing_usagerollup": (
        "reconcile",
        "every usage key has its interval",
    ),
    "DELETE FROM billing_invoice": ("reconcile", "has an invoice"),
    "UPDATE billing_priceversion SET effective_at = effective_at + interval '2 hours'": ("reconcile", "price in force"),
    "UPDATE billing_budgetperiod SET spent = 0": ("verify_ledger", "budget counters equal the ledger"),
    "UPDATE billing_hold SET settled = 0": ("verify_ledger", "holds equal the ledger"),
    "DELETE FROM billing_ledgerposting WHERE account = 'spent' AND pot_kind = 'hold'": (
        "verify_ledger",
        "every ledger transaction sums to zero",
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("corruption", PLANTED)
def test_a_planted_fault_is_found_and_named(
    corruption: str, superuser: psycopg.Connection, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(1), at_limit="block_new")
        held = holds.hold(project_id=project.id, subject="job:1", amount=Money(Decimal(1), "EUR"))
        record_usage([interval(project.id, clock.now(), 100, attempt_id=uuid4())], hold_id=held)
        assert queries.draft_invoice().exact.amount == Decimal("0.005")
    with as_control():
        call_command("reconcile")
        call_command("verify_ledger")
    command, named = PLANTED[corruption]
    superuser.execute("SET session_replication_role = replica")
    superuser.execute(corruption)
    with as_control(), pytest.raises(CommandError, match=named):
        call_command(command)
    with as_control():
        (raised,) = PlatformEvent.objects.values_list("type", "about", "data")
    assert raised == ("reconciliation.difference", tenant.id, {"check": command})
    with as_control(), pytest.raises(CommandError, match="no tenant"):
        call_command(command, "--tenant", "nobody")
