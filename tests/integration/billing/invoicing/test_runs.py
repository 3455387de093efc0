"""How a run of a month reads and stores many tenants at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import ProgrammingError, connection, transaction

from billing import tasks
from billing.metering.metering import record_usage
from billing.models import Invoice, PeriodRun, PreparedDraft
from billing.periods import months
from billing.runs import preparing, storing
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project
from tests.integration.billing.invoicing.scene import IN_APRIL, IN_MARCH, finalise, name_the_seller, used
from tests.integration.billing.invoicing.test_savings_plans import TERMS as BY_HOUR
from tests.integration.billing.invoicing.test_savings_plans import many_hours
from tests.integration.billing.invoicing.test_terms import TERMS
from tests.integration.billing.wallets.scene import grant
from tests.support import selling
from tests.support.billing.runs import check_that_runs_agree
from tests.support.factories import make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
MAY = datetime(2027, 5, 2, 12, tzinfo=UTC)
Role = Callable[[], AbstractContextManager[None]]


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        yield


def test_b41_a_run_finds_the_figures_that_each_tenants_pages_show(demo_clock: DemoClock) -> None:
    name_the_seller()
    finalise(used(demo_clock, 10_000, 3, tax_rate=Decimal(19)))
    used(demo_clock, 40_000, 33_333, 7, terms=TERMS, tax_rate=Decimal(19))
    many_hours(demo_clock, **BY_HOUR)
    credited = used(demo_clock, 60_000)
    demo_clock.move_to(IN_MARCH)
    grant(credited, "6.50")
    for moment in (IN_APRIL, MAY):
        demo_clock.move_to(moment)
        with tenant_scope(credited.id):
            project = Project.objects.exclude(slug="default").get().id
            record_usage([interval(project, moment - timedelta(hours=12), 40_000)])
    # The credit pays March, April, and 1.50 of May.
    assert check_that_runs_agree() == 6
    with tenant_scope(credited.id), selling.role("exchequer_control"):
        totals = PreparedDraft.objects.order_by("period").values_list("total", flat=True)
        assert [total.normalize() for total in totals] == [0, 0, Decimal("0.5")]


def test_what_fails_for_a_chunk_together_is_found_tenant_by_tenant(
    demo_clock: DemoClock, seller: Any, as_control: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = [used(demo_clock) for _ in range(5)]
    usual = storing.store

    def store(period: date, among: Sequence[UUID], rows: Sequence[Any]) -> None:
        usual(period, among, rows)
        if tenants[3].id in among:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(preparing, "store", store)
    assert seller("platform_finance").post("/api/operator/v1/periods/2027-03/run/").status_code == 202
    with as_control():
        assert tasks.run_periods() == 5
        run = PeriodRun.objects.get()
        assert (run.done, run.failed, run.last_tenant) == (5, 1, tenants[4].id)
        for at, tenant in enumerate(tenants):
            with tenant_scope(tenant.id):
                assert PreparedDraft.objects.exists() == (at != 3)


def test_other_roles_see_nothing_of_what_a_run_reads(demo_clock: DemoClock, as_control: Role) -> None:
    mine, _ = used(demo_clock), used(demo_clock)
    asked: dict[str, Any] = {"tenants": [mine.id], "months": [date(2027, 3, 1)]}
    calls = {
        "billing_run_invoices(%(tenants)s::uuid[], '2027-02-01', '2027-03-01')": 1,
        "billing_run_contracts(%(tenants)s::uuid[], '2027-03-01')": 1,
        "billing_run_credits(%(tenants)s::uuid[])": 0,
        "billing_run_lines(%(tenants)s::uuid[], %(tenants)s::uuid[])": 0,
        "billing_run_sums(%(tenants)s::uuid[], %(months)s::date[], '{}')": 1,
    }
    for call, rows in calls.items():
        with as_control(), connection.cursor() as cursor:
            cursor.execute(f"SELECT tenant_id FROM {call}", asked)
            assert [one for (one,) in cursor.fetchall()] == [mine.id] * rows, call
        for role in ("exchequer_app", "exchequer_operator"):
            with selling.role(role), tenant_scope(mine.id), refused(), connection.cursor() as cursor:
                cursor.execute(f"SELECT tenant_id FROM {call}", asked)


def test_b41_a_run_opens_what_a_contract_owes_without_usage(
    demo_clock: DemoClock, seller: Any, as_control: Role
) -> None:
    name_the_seller()
    owing = {
        "commitments": [{"key": "base", "amount": "100"}],
        "minimums": [{"key": "least", "amount": "70"}],
        "savings_plans": [{"key": "plan", "per": "hour", "amount": "1", "percent": "20"}],
    }
    demo_clock.move_to(IN_MARCH - timedelta(days=40))
    tenants = []
    for each in ({}, {"discounts": [{"key": "d", "percent": "5"}]}, *({name: term} for name, term in owing.items())):
        tenants.append(make_tenant(contract=False))
        selling.open_contract(tenants[-1], terms=each)
    demo_clock.move_to(IN_APRIL)
    finance = seller("platform_finance")
    for _ in range(2):
        assert finance.post("/api/operator/v1/periods/2027-03/run/").status_code == 202
        with as_control():
            assert tasks.run_periods() == 5
    listed = finance.get("/api/operator/v1/invoices/?period=2027-03").json()["results"]
    assert {one["tenant"]["id"] if isinstance(one["tenant"], dict) else one["tenant"] for one in listed} == {
        str(one.id) for one in tenants[2:]
    }
    with as_control():
        totals = []
        for tenant in tenants[2:]:
            with tenant_scope(tenant.id):
                totals.append(PreparedDraft.objects.get().total)
    assert totals == [100, 70, 744]  # March has 744 hours in UTC
    # It is finalised as any other, closes its month, and a void one is not opened again.
    finalise(tenants[2])
    with tenant_scope(tenants[2].id):
        invoice = Invoice.objects.get()
    void = f"/api/operator/v1/invoices/{invoice.pk}/void/"
    assert finance.post(void, {"reason": "agreed otherwise"}, content_type="application/json").status_code == 200
    finance.post("/api/operator/v1/periods/2027-03/run/")
    with as_control():
        tasks.run_periods()
    with tenant_scope(tenants[2].id):
        assert Invoice.objects.get().state == "void"
        assert months.last_closed() == date(2027, 3, 1)
