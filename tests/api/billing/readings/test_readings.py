"""Readings through the HTTP route: what each aggregation counts in usage, budgets, ledger and draft, however they arrive."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from billing import queries
from billing.budgets import budgets
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import Hold, Meter, MeterPiece, MeterReading, UsageEvent
from billing.reported.readings import sweeping
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.billing.test_events import Sender
from tests.api.billing.test_reported import Finance
from tests.support import factories, selling
from tests.support.selling import NewPrice, as_control
from tests.support.usage import priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
EURO = Decimal(1)


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    """Return a tenant with a price for a meter that it is about to define: one euro a unit."""
    made = priced_tenant(demo_clock, NOW - timedelta(days=50), for_=timedelta(days=10))
    with tenant_scope(made.id):
        (book,) = queries.price_books()
        kept = [NewPrice(one.meter, one.dims, one.unit_amount) for one in book.versions[0].prices]
        selling.publish(book_id=book.id, prices=[*kept, NewPrice("x_m", {}, EURO)])
    demo_clock.move_to(NOW)
    return made


@pytest.fixture
def send(tenant: Tenant) -> Sender:
    return Sender(tenant)


@pytest.fixture
def finance(tenant: Tenant) -> Finance:
    return Finance(tenant)


@pytest.fixture
def meter(finance: Finance) -> Callable[[str], None]:
    """Return a function that defines the meter with an aggregation."""

    def make(aggregation: str) -> None:
        body = {"title": "Of tests", "unit": "unit", "event_type": "x.m", "aggregation": aggregation}
        made = finance("POST", "meters/", body, 201)
        assert (made["key"], made["aggregation"]) == ("x_m", aggregation)

    return make


def at(hours: float) -> str:
    """Return a moment so many hours before now, as an event has it."""
    return (NOW - timedelta(hours=hours)).isoformat()


def reading(hours: float, value: Any, **more: Any) -> dict[str, Any]:
    data = {"quantity": value, **more.pop("data", {})} if value is not None else more.pop("data", {})
    whole = {"specversion": "1.0", "id": uuid4().hex, "source": "gateway", "type": "x.m", "subject": "bucket-1"}
    return {**whole, "time": at(hours), "data": data, **more}


def charged(tenant: Tenant) -> Decimal:
    """Return what is charged, after proving that usage, sums, pieces, budgets, ledger and draft agree on it."""
    with tenant_scope(tenant.id):
        assert [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]] == []
        spent = sum((row.cost.amount for row in queries.spend(queries.span(), group_by=["meter"])), Decimal(0))
        assert {status.spent.amount for status in queries.budgets()} <= {spent}
        assert queries.draft_invoice().exact.amount == spent
        counting = MeterPiece.objects.filter(voided_at=None)
        assert sum((piece.quantity for piece in counting), Decimal(0)) == sum(
            (event.measured for event in UsageEvent.objects.filter(meter_id=Meter.objects.get(event_type="x.m").id)),
            Decimal(0),
        )
        return spent


def budget(tenant: Tenant) -> None:
    budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(10_000), at_limit="notify")


def void(finance: Finance, *events: dict[str, Any], status: int = 200) -> Any:
    named = [{"source": one["source"], "id": one["id"]} for one in events]
    return finance("POST", "usage/void/", {"events": named, "reason": "wrong"}, status)


def test_b65_the_highest_reading_of_a_month_counts_whatever_comes_when(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None]
) -> None:
    meter("max")
    budget(tenant)
    top, low, other = reading(30, 20), reading(20, 7), reading(10, 3, subject="bucket-2")
    send([low, other])
    assert charged(tenant) == 10
    send([low, top])  # late, and a replay
    send(reading(5, 0))
    send(reading(4, 20))  # as high: the first one stays
    assert charged(tenant) == 23
    assert void(finance, top)["amount"]["amount"] == "0.000000"  # the other 20 takes its place
    assert void(finance, top, status=409)["code"] == "usage_voided"
    (batch,) = [row for row in finance("GET", "usage/batches/")["results"] if row["accepted"] == 2]
    events = finance("GET", f"usage/batches/{batch['id']}/")["results"]
    assert sorted((one["quantity"], one["cost"]["amount"]) for one in events) == [
        ("3.000000", "3.000000"),
        ("7.000000", "0.000000"),
    ]
    finance("POST", f"usage/batches/{batch['id']}/void/", {"reason": "wrong"})
    assert charged(tenant) == 20
    # In the month before, the highest is another one.
    send(reading(24 * 10, 4))
    with tenant_scope(tenant.id):
        assert {view.period.month: view.exact.amount for view in queries.invoices()} == {9: 4, 10: 20}


def test_b65_the_last_reading_of_a_month_counts_and_a_void_brings_the_one_before_back(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None]
) -> None:
    meter("latest")
    budget(tenant)
    first, last = reading(30, 20), reading(20, "2.5")
    send([last, first])
    assert charged(tenant) == Decimal("2.5")
    assert void(finance, last)["amount"]["amount"] == "-17.500000"
    assert charged(tenant) == 20
    send([reading(25, 30), reading(1, 0)])
    assert charged(tenant) == 0
    refused = send([reading(1, -1), {**first, "data": {"quantity": 21}}, reading(2, 5)], status=409)
    assert [one["index"] for one in refused["conflicts"]] == [1]
    assert "not below 0" in refused["refused"][0]["reason"]
    assert charged(tenant) == 0


def test_b65_each_label_counts_once_a_month(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None]
) -> None:
    meter("unique")
    budget(tenant)
    sent = [reading(hours, None, data={"label": label}) for hours, label in ((9, "anna"), (8, "ben"), (7, "anna"))]
    send(sent[1:])
    send([sent[0], reading(6, None, data={"label": "ben", "zone": "north"})])  # other dimensions are another series
    assert charged(tenant) == 3
    void(finance, sent[0])
    assert charged(tenant) == 3
    void(finance, sent[2])
    assert charged(tenant) == 2
    assert "data.label" in send(reading(5, 4), status=400)["refused"][0]["reason"]


def test_events_are_counted_whatever_they_say_and_stand_beside_readings_in_a_batch(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None]
) -> None:
    meter("count")
    finance("POST", "meters/", {"title": "Seats", "unit": "seat", "event_type": "x.seats", "aggregation": "max"}, 201)
    seats = [reading(3, value, type="x.seats") for value in (5, 9)]
    usage = [reading(3, 50), reading(3, None), reading(3, "no number")]
    requests = reading(3, 4, type="inference.requests")
    held = send([seats[0], usage[0], requests, seats[1], *usage[1:]], status=202)["held"]
    assert [(one["index"], one["reason"]) for one in held] == [(0, "no price matches"), (3, "no price matches")]
    with tenant_scope(tenant.id):
        rows = {row.keys["meter"]: row.measured for row in queries.spend(queries.span(), group_by=["meter"])}
    assert rows == {"x_m": 3, "inference_requests": 4}
    rows = finance("GET", "usage/held/")["results"]
    body = {"events": [row["id"] for row in rows], "decision": "accept", "reason": "it was free then"}
    assert finance("POST", "usage/held/decide/", body)["decided"] == 2
    with tenant_scope(tenant.id):
        rows = {row.keys["meter"]: row.measured for row in queries.spend(queries.span(), group_by=["meter"])}
        assert rows["x_seats"] == 9
        assert [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]] == []


def test_b65_a_value_is_charged_for_the_hours_that_it_lasts(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None], demo_clock: DemoClock
) -> None:
    meter("time_weighted")
    budget(tenant)
    sent = [reading(10, 3), reading(6, 1), reading(2.5, 0)]
    send(sent[0])
    assert charged(tenant) == 30  # up to now, a full hour
    send(sent[2])
    assert charged(tenant) == Decimal("22.5")
    send([sent[1], sent[0]])
    assert charged(tenant) == 3 * 4 + Decimal("3.5")
    void(finance, sent[2])
    assert charged(tenant) == 3 * 4 + 6
    demo_clock.advance(timedelta(minutes=80))
    with as_control():
        assert sweeping.count_hours() == 1
        assert sweeping.count_hours() == 0
    assert charged(tenant) == 3 * 4 + 7
    void(finance, sent[0], sent[1])
    assert charged(tenant) == 0
    with as_control():
        demo_clock.advance(timedelta(hours=3))
        assert sweeping.count_hours() == 0


def test_b65_a_meter_with_usage_keeps_its_aggregation(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None]
) -> None:
    meter("max")
    ids = {one["key"]: one["id"] for one in finance("GET", "meters/")["results"]}
    mine = f"meters/{ids['x_m']}/"
    assert finance("PATCH", mine, {"aggregation": "sum"})["aggregation"] == "sum"
    assert finance("PATCH", mine, {"aggregation": "latest"})["aggregation"] == "latest"
    assert "median" in finance("PATCH", mine, {"aggregation": "median"}, 400)["title"]
    assert finance("PATCH", f"meters/{uuid4()}/", {"aggregation": "max"}, 404)["code"] == "not_found"
    assert "platform" in finance("PATCH", f"meters/{ids['device_seconds']}/", {"aggregation": "max"}, 400)["title"]
    body = {"title": "Time", "unit": "second", "event_type": "x.t", "aggregation": "max"}
    assert "sums time" in finance("POST", "meters/", body, 400)["title"]
    send(reading(1, 5))
    refused = finance("PATCH", mine, {"aggregation": "max"}, 409)
    assert (refused["code"], "another meter" in refused["title"]) == ("meter_in_use", True)
    with tenant_scope(tenant.id), pytest.raises(IntegrityError, match="keeps its aggregation"), transaction.atomic():
        Meter.objects.filter(key="x_m").update(aggregation="max")
    with tenant_scope(tenant.id), pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        MeterReading.objects.update(value=6)
    with tenant_scope(tenant.id):
        MeterReading.objects.update(voided_at=NOW)
    with tenant_scope(tenant.id), pytest.raises(IntegrityError, match="voided once"), transaction.atomic():
        MeterReading.objects.update(voided_at=None)


@pytest.mark.parametrize("aggregation", ["max", "time_weighted"])
def test_b65_writers_of_one_series_at_once_leave_what_one_after_the_other_does(
    tenant: Tenant, finance: Finance, meter: Callable[[str], None], aggregation: str
) -> None:
    meter(aggregation)
    budget(tenant)
    senders = [Sender(tenant) for _ in range(4)]
    sent = [reading(12 - number / 2, 1 + number % 5) for number in range(16)]

    def work(number: int) -> None:
        try:
            for one in sent[number::4]:
                senders[number]([one, sent[number]])
        finally:
            connection.close()

    def withdraw() -> None:
        try:
            void(finance, sent[0])
        finally:
            connection.close()

    senders[0](sent[0])
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(work, number) for number in range(4)] + [pool.submit(withdraw)]
        for one in waiting:
            one.result()
    values = [1 + number % 5 for number in range(1, 16)]
    hours = sum(values[:-1]) * Decimal("0.5") + values[-1] * Decimal("4.5")
    assert charged(tenant) == (5 if aggregation == "max" else hours)


def test_b65_a_reading_settles_from_its_hold_and_returns_what_another_replaces(
    tenant: Tenant, send: Sender, finance: Finance, meter: Callable[[str], None]
) -> None:
    meter("max")
    budget(tenant)
    asked = {"project": "default", "meter": "x_m", "quantity": "20", "expires_in_s": 3600}
    hold = send(asked, "application/json", "holds/", 201)["id"]

    def settled() -> tuple[Decimal, Decimal]:
        with tenant_scope(tenant.id):
            row = Hold.objects.get(pk=hold)
            return row.settled, row.amount - row.settled

    low, top = (reading(hours, value, data={"hold": hold}) for hours, value in ((3, 5), (2, 8)))
    send(low)
    assert settled() == (5, 15)
    send(top)
    # The 5 went back to the budgets, as what is voided does; the hold is that much smaller.
    assert settled() == (8, 7)
    assert charged(tenant) == 8
    send(reading(1, 30, data={"hold": hold}))
    assert charged(tenant) == 30  # what the hold does not cover counts without it
    void(finance, top)
    assert charged(tenant) == 30
    send("{}", "application/json", f"holds/{hold}/release/", 200)
    assert charged(tenant) == 30
