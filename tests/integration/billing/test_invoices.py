"""The draft invoice: lines from roll-ups, and each line down to the person behind the seconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from billing import queries
from billing.budgets import holds
from billing.invoices import finalising
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import BillingPeriod, Invoice
from billing.money import Money
from billing.pricing import price_books
from tenants import clock
from tenants.errors import Invalid, NotFound
from tenants.events import outbox
from tenants.operations import change_tenant
from tests.support import selling
from tests.support.factories import in_tenant, make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def test_a_line_explains_itself_down_to_the_person_and_the_price_version() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        start, job, attempts = clock.now(), uuid4(), [uuid4(), uuid4()]
        held = holds.hold(project_id=project.id, subject=f"job:{job}", amount=Money(Decimal(1), "EUR"), actor=actor)
        for number in range(12):
            usage = interval(
                project.id, start + timedelta(seconds=5 * number), 5, job_id=job, attempt_id=attempts[number // 6]
            )
            record_usage([usage], hold_id=held)
        invoice = queries.draft_invoice()
        assert invoice.id == Invoice.objects.get().id
        (line,) = queries.invoice_lines(invoice.id)
        assert (line.quantity, line.exact.amount, line.amount) == (60, Decimal("0.003"), Money(Decimal("0.00"), "EUR"))
        assert invoice.total == line.amount
        seen, after = [], None
        while page := queries.explain(invoice.id, 1, page=queries.IntervalPage(after=after, limit=5)).intervals:
            assert len(page) <= 5
            seen += page
            after = page[-1].place
        assert len({segment.id for segment in seen}) == len(seen) >= 12
        assert sum((segment.exact.amount for segment in seen), Decimal(0)) == line.exact.amount
        assert {segment.actor for segment in seen} == {actor.label}
        assert {segment.actor_id for segment in seen} == {actor.id}
        whole = queries.explain(invoice.id, 1)
        assert {(share.job_id, share.attempt_id) for share in whole.shares} == {(job, attempt) for attempt in attempts}
        assert whole.line.version_number == 1
        assert whole.line.unit_amount == Decimal("0.00005")
        narrowed = queries.explain(invoice.id, 1, queries.Narrowing(attempt_id=attempts[0]))
        assert {segment.attempt_id for segment in narrowed.intervals} == {attempts[0]}
        with pytest.raises(NotFound):
            queries.explain(invoice.id, 2)
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []


def test_the_total_is_the_sum_of_lines_that_are_each_rounded_once() -> None:
    tenant = make_tenant()
    projects = [make_project(tenant) for _ in range(3)]
    with in_tenant(tenant):
        selling.provision_defaults()
        for project in projects:
            record_usage([interval(project.id, clock.now() - timedelta(seconds=0), 100)])
        invoice = queries.draft_invoice()
        lines = queries.invoice_lines(invoice.id)
        # 0.005 each: half-even gives 0.00 per line, while the rounded sum would be 0.02.
        assert [line.amount.amount for line in lines] == [Decimal("0.00")] * 3
        assert invoice.exact.amount == Decimal("0.015")
        assert invoice.total.amount == Decimal("0.00")


def test_b4_a_job_over_a_local_month_end_lies_on_two_invoices(demo_clock: DemoClock) -> None:
    midnight = datetime(2026, 2, 28, 18, 15, tzinfo=UTC)
    demo_clock.move_to(midnight - timedelta(hours=2))
    tenant = make_tenant(timezone="Asia/Kathmandu")
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        demo_clock.move_to(midnight + timedelta(hours=2))
        recorded = record_usage([interval(project.id, midnight - timedelta(minutes=40), 3600)])
        assert recorded.quantity == 3600
        february, march = Invoice.objects.order_by("period")
        assert (february.period, march.period) == (date(2026, 2, 1), date(2026, 3, 1))
        assert february.ends_at == march.starts_at == midnight
        assert [queries.invoice(row.id).quantities for row in (february, march)] == [{"second": 2400}, {"second": 1200}]
        assert queries.month_to_date().quantity == 1200
        assert queries.month_to_date().previous_quantity == 2400
        listed = queries.invoices(limit=1)
        assert [view.id for view in listed] == [march.id]
        assert [view.id for view in queries.invoices(after=(march.period, march.id))] == [february.id]
        assert list(reconcile_faults()) == []


@pytest.mark.parametrize(
    ("before", "after", "moment", "end"),
    [
        ("Europe/London", "America/Los_Angeles", "2026-11-30T12:00:00+00:00", "2026-12-01T08:00:00+00:00"),
        ("America/Los_Angeles", "Pacific/Kiritimati", "2026-11-20T12:00:00+00:00", "2026-11-30T10:00:00+00:00"),
        ("America/Los_Angeles", "Pacific/Kiritimati", "2026-11-30T12:00:00+00:00", "2026-11-30T12:00:00+00:00"),
    ],
)
def test_a_draft_ends_with_its_month_in_another_time_zone(
    demo_clock: DemoClock, as_control: Any, before: str, after: str, moment: str, end: str
) -> None:
    now, ends = datetime.fromisoformat(moment), datetime.fromisoformat(end)
    demo_clock.move_to(now.replace(month=10))
    tenant = make_tenant(timezone=before)
    project = make_project(tenant)
    for month in (10, 11):
        demo_clock.move_to(now.replace(month=month))
        with in_tenant(tenant) as actor:
            selling.provision_defaults()
            record_usage([interval(project.id, now.replace(month=month) - timedelta(hours=1), 60)])
    with in_tenant(tenant):
        wanted = Invoice.objects.get(period=date(2026, 11, 1)).pk
    with selling.role("exchequer_operator"):
        finalising.set_review(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=wanted, in_review=True)
    with in_tenant(tenant) as actor:
        assert queries.draft_invoice().id == wanted
        october = Invoice.objects.get(period=date(2026, 10, 1)).ends_at
        change_tenant(actor=actor, name=tenant.name, timezone=after)
    with as_control():
        outbox.drain(tenant.id)
    with in_tenant(tenant):
        past, running = Invoice.objects.order_by("period")
        assert past.ends_at == october, "a month that is over stays as it was"
        assert abs(running.ends_at - ends) < timedelta(minutes=1)
        months = BillingPeriod.objects.order_by("period").values_list("ends_at", flat=True)
        assert list(months) == [past.ends_at, running.ends_at], "so a month closes when its invoice may be finalised"
        demo_clock.move_to(ends)
        record_usage([interval(project.id, ends - timedelta(seconds=30), 20)])
        assert list(reconcile_faults()) == []


def test_b5_a_price_change_splits_an_interval_and_never_touches_the_past(demo_clock: DemoClock) -> None:
    demo_clock.move_to(datetime(2026, 5, 4, 10, tzinfo=UTC))
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        old = price_books.price_at("device_seconds", {"device_class": "cpu"})
        book = queries.price_books()[0]
        soon = clock.now() + timedelta(minutes=4)
        prices = [selling.NewPrice("device_seconds", {}, Decimal("0.0001"))]
        with pytest.raises(Invalid):
            selling.publish(book_id=book.id, prices=prices, effective_at=soon)
        change = datetime(2026, 5, 4, 11, 7, 0, 1, tzinfo=UTC)
        version = selling.publish(book_id=book.id, prices=prices, effective_at=change, note="dearer")
        demo_clock.move_to(datetime(2026, 5, 4, 12, tzinfo=UTC))
        recorded = record_usage([interval(project.id, datetime(2026, 5, 4, 11, tzinfo=UTC), 1800)])
        before = Decimal("420.000001")
        assert recorded.amount == before * old.unit_amount + (1800 - before) * Decimal("0.0001")
        lines = queries.invoice_lines(queries.draft_invoice().id)
        assert [(line.version_number, line.quantity) for line in lines] == [(1, before), (2, 1800 - before)]
        assert (
            price_books.price_at("device_seconds", {}, change - timedelta(microseconds=1)).version_id == old.version_id
        )
        assert price_books.price_at("device_seconds", {}, change).version_id == version.id
        states = [(item.number, item.state) for item in queries.price_books()[0].versions]
        assert states == [(2, "in_force"), (1, "past")]
        assert list(reconcile_faults()) == []


def test_spend_is_cut_by_day_project_job_and_tag(demo_clock: DemoClock) -> None:
    demo_clock.move_to(datetime(2026, 3, 28, 12, tzinfo=UTC))
    tenant = make_tenant(timezone="Europe/Berlin")
    one, two = make_project(tenant), make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        demo_clock.move_to(datetime(2026, 3, 30, 12, tzinfo=UTC))
        job = uuid4()
        tagged = {"device_class": "cpu", "tag:team": "vision"}
        record_usage(
            [
                interval(one.id, datetime(2026, 3, 28, 22, 30, tzinfo=UTC), 3600, job_id=job, dims=tagged),
                interval(two.id, datetime(2026, 3, 29, 12, tzinfo=UTC), 100),
            ]
        )
        over = queries.span(date(2026, 3, 28), date(2026, 3, 30))
        by_day = queries.cost_by_day_and_project(over)
        assert [(row.starts, row.keys["project"], row.quantity) for row in by_day] == [
            (date(2026, 3, 28), str(one.id), 1800),
            *sorted(
                [(date(2026, 3, 29), str(one.id), Decimal(1800)), (date(2026, 3, 29), str(two.id), Decimal(100))],
                key=lambda row: row[1],
            ),
        ]
        assert [row.keys["job"] for row in queries.spend(over, group_by=["job", "project"], costliest=20)] == [
            str(job),
            None,
        ]
        teams = {row.keys["tag:team"]: row.quantity for row in queries.spend(over, group_by=["tag:team"])}
        assert teams == {"vision": 3600, None: 100}
        hours = queries.spend(
            queries.span(datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC)), granularity="hour"
        )
        assert [(row.starts, row.quantity) for row in hours] == [(datetime(2026, 3, 28, 23, tzinfo=UTC), 1800)]
        with pytest.raises(Invalid):
            queries.spend(over, group_by=["dims; DROP TABLE x"])


def test_a_waived_attempt_stays_measured_and_costs_nothing() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        attempt = uuid4()
        record_usage([interval(project.id, clock.now(), 200, attempt_id=attempt)])
        assert waive_usage(attempt, reason="the node was lost") == Decimal("0.01")
        (line,) = queries.invoice_lines(queries.draft_invoice().id)
        assert (line.measured, line.quantity, line.amount.amount) == (200, 0, 0)
        kinds = [segment.kind for segment in queries.explain(queries.draft_invoice().id, 1).intervals]
        assert "waiver" in kinds
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []
