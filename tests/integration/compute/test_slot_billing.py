"""Cost of a leased slot, against the real ledger: by the quarter hour, each once, never more than was held."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from billing import queries as billing_queries
from billing.budgets import budgets, counters, holds
from billing.budgets.counters import BudgetExceeded
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import BudgetPeriod, Hold, Meter
from billing.money import Money
from billing.pricing import contracts, publishing
from billing.rating.calendar import day_start, quarter_of
from compute.allocations import allocations
from compute.fleet import nodes
from compute.scheduling import slots
from models_app.endpoints import deployments, endpoint_keys, endpoints, slot_events
from tenants.clock import now
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, OutboxMessage, Tenant
from tests.conftest import DemoClock
from tests.integration.compute.test_slots import Place
from tests.support import factories, selling
from tests.support.endpoints import make_version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(as_control: Callable[[], AbstractContextManager[None]]) -> Place:
    return Place(as_control)


UNIT = Decimal("0.001")


@pytest.fixture
def billed(place: Place, demo_clock: DemoClock) -> Place:
    """A place whose tenant pays for slots per second, at the start of a quarter hour."""
    with tenant_scope(place.tenant.id):
        selling.provision_defaults()
        book = billing_queries.price_books()[0].id
        prices = [
            selling.NewPrice("serving.slot_seconds", {}, UNIT),
            selling.NewPrice("device_seconds", {}, UNIT),
        ]
        selling.publish(book_id=book, prices=prices)
        begins = quarter_of(now()) + timedelta(hours=1)
    demo_clock.move_to(begins)
    return place


def settle(place: Place) -> int:
    """Let the controller settle slots once."""
    with place.control():
        return slots.settle_slots()


def seconds(place: Place) -> list[tuple[datetime, datetime, Decimal, Decimal]]:
    """Return the recorded slot usage: from, to, seconds charged, amount; in order."""
    with tenant_scope(place.tenant.id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.started_at, e.ended_at, e.billable, e.amount FROM billing_usageevent e JOIN billing_meter m ON m.id = e.meter_id "
            "WHERE m.key = 'serving.slot_seconds' ORDER BY e.started_at"
        )
        return cursor.fetchall()


def held(place: Place) -> Decimal:
    """Return what is left of open holds."""
    with tenant_scope(place.tenant.id):
        return sum((row.amount - row.settled for row in Hold.objects.filter(state="open")), Decimal(0))


def assert_whole(place: Place, asked: uuid.UUID) -> Decimal:
    """Assert that the stays of an allocation are recorded without gap or overlap; return their seconds."""
    rows = seconds(place)
    assert all(one[1] == following[0] for one, following in itertools.pairwise(rows)), "no gap, no overlap"
    assert all(amount == billable * UNIT for _, _, billable, amount in rows)
    return sum((Decimal(str((end - start).total_seconds())) for start, end, _, _ in rows), Decimal(0))


def test_seconds_on_a_slot_are_held_by_the_hour_and_recorded_by_the_quarter_each_once(
    billed: Place, demo_clock: DemoClock
) -> None:
    subject = f"endpoint:{uuid.uuid4()}"
    billed.ask(subject)
    assert held(billed) == 3600 * UNIT, "an hour is held before there is a slot"
    me = billed.node("s1", 1)
    assert billed.assign() == 1
    for _ in range(6):
        demo_clock.advance(timedelta(minutes=15, seconds=5))
        with billed.control():
            nodes.alive(me)
        (slot,) = allocations.mine(me.node_id)
        assert billed.renew(slot[1], me)
        threads = [threading.Thread(target=in_own_connection, args=(billed.tenant.id, slot[1])) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        settle(billed)
        assert held(billed) >= 900 * UNIT, "the next quarter is paid for"
        assert held(billed) <= 4600 * UNIT
    assert len(seconds(billed)) == 6
    demo_clock.advance(timedelta(seconds=30))
    assert billed.renew(slot[1], me)
    assert billed.let_go(subject)
    total = assert_whole(billed, slot[1])
    assert 6 * 905 + 29 <= total <= 6 * 905 + 90
    assert held(billed) == 0, "the rest went back"
    assert not billed.let_go(subject)
    settle(billed)
    assert assert_whole(billed, slot[1]) == total
    with tenant_scope(billed.tenant.id):
        assert sum(amount for *_, amount in seconds(billed)) == total * UNIT
        assert not [*ledger_faults(), *reconcile_faults()]


def in_own_connection(tenant_id: uuid.UUID, allocation_id: uuid.UUID) -> None:
    """Settle as a second process does, at the same time."""
    try:
        slots._settle(tenant_id, allocation_id)
    finally:
        connection.close()


def test_an_allocation_of_a_silent_node_ends_with_its_lease(billed: Place, demo_clock: DemoClock) -> None:
    asked = billed.ask()
    billed.node("s1", 1)
    billed.assign()
    demo_clock.advance(timedelta(minutes=40))
    assert billed.reap() == 1
    first = assert_whole(billed, asked)
    assert first < 60, "no longer than the lease that its node had"
    billed.node("s2", 1)
    assert billed.assign() == 1
    settle(billed)
    demo_clock.advance(timedelta(minutes=16))
    settle(billed)
    rows = seconds(billed)
    assert len(rows) >= 1 and all(end > start for start, end, _, _ in rows)
    assert not any(start < others_end and others_start < end and (start, end) != (others_start, others_end)
                   for start, end, _, _ in rows for others_start, others_end, _, _ in rows)  # fmt: skip


def test_a_slot_without_budget_is_released_and_its_owner_notified(billed: Place, demo_clock: DemoClock) -> None:
    subject = f"endpoint:{uuid.uuid4()}"
    budgets.create_budget(actor=factories.actor_for(billed.tenant), amount=1500 * UNIT, at_limit="block_new")
    billed.ask(subject)
    assert held(billed) == 960 * UNIT, "a quarter, where there is no room for an hour"
    me = billed.node("s1", 1)
    billed.assign()
    settle(billed)
    stopped = 0
    for _ in range(4):
        demo_clock.advance(timedelta(minutes=15, seconds=5))
        for _, allocation_id in allocations.mine(me.node_id):
            billed.renew(allocation_id, me)
        settle(billed)
        stopped += not allocations.mine(me.node_id)
    assert stopped, "it went as soon as there was no room for the next quarter"
    with tenant_scope(billed.tenant.id):
        assert OutboxMessage.objects.filter(topic="compute.SlotUnpaid").count() == 1
        assert allocations.slots([subject])[subject].unpaid
        assert sum(amount for *_, amount in seconds(billed)) <= 1500 * UNIT
    assert held(billed) == 0
    with pytest.raises(BudgetExceeded):
        billed.ask(subject)


@pytest.mark.parametrize("listed", [True, False])
def test_where_slots_cost_nothing_nothing_is_held_and_seconds_are_measured(
    place: Place, demo_clock: DemoClock, listed: bool
) -> None:
    with tenant_scope(place.tenant.id):
        selling.provision_defaults()
        if not listed:  # as in a price list that predates slot meters
            Meter.objects.filter(key="serving.slot_seconds").update(key="x.slots", event_type="x.slots")
    budgets.create_budget(actor=factories.actor_for(place.tenant), amount=Decimal("0.01"), at_limit="block_new")
    demo_clock.advance(timedelta(hours=1))
    subject = f"endpoint:{uuid.uuid4()}"
    place.ask(subject)
    me = place.node("s1", 1)
    place.assign()
    demo_clock.advance(timedelta(minutes=31))
    for _, allocation_id in allocations.mine(me.node_id):
        assert place.renew(allocation_id, me)
    settle(place)
    assert held(place) == 0
    assert seconds(place) and all(amount == 0 for _, _, _, amount in seconds(place))
    assert len(allocations.mine(me.node_id)) == 1, "it stays"
    assert place.let_go(subject)


def test_an_unpaid_endpoint_stops_and_resumes_when_redeployed(billed: Place, demo_clock: DemoClock) -> None:
    actor = factories.actor_for(billed.tenant)
    version = make_version(billed.tenant)
    budget = budgets.create_budget(actor=actor, amount=1100 * UNIT, at_limit="block_new")
    endpoint = deployments.deploy(actor=actor, name="churn", version_id=version.id)
    secret = endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="app").secret
    me = billed.node("s1", 1)
    billed.assign()
    settle(billed)
    deployments.report(tenant_id=billed.tenant.id, endpoint_id=endpoint.id, generation=1, state="ready")
    while allocations.mine(me.node_id):
        demo_clock.advance(timedelta(minutes=15, seconds=5))
        for _, allocation_id in allocations.mine(me.node_id):
            billed.renew(allocation_id, me)
        settle(billed)
    assert slot_events.why_stopped(billed.tenant.id, endpoint.id) == "budget", "at once, before the news is delivered"
    with billed.control():
        outbox.drain(billed.tenant.id)
    with tenant_scope(billed.tenant.id):
        row = endpoints.endpoint_detail(actor, endpoint.id)
        assert (row.state, row.cause, row.answers) == ("stopped", "budget", False)
        assert Notification.objects.filter(kind="endpoint_stopped").exists()
    assert endpoint_keys.known([endpoint_keys.key_hash(secret)]), "its name and keys are kept"
    with pytest.raises(BudgetExceeded):
        deployments.deploy(actor=actor, name="churn", version_id=version.id)
    budgets.change_budget(actor=actor, budget_id=budget.pk, amount=Decimal(100))
    again = deployments.deploy(actor=actor, name="churn", version_id=version.id)
    assert (again.id, again.state) == (endpoint.id, "deploying")
    billed.node("s1", 1)
    assert billed.assign() == 1
    assert slot_events.why_stopped(billed.tenant.id, endpoint.id) == ""
    with tenant_scope(billed.tenant.id):
        assert not [*ledger_faults(), *reconcile_faults()]


def test_an_unloadable_endpoint_releases_its_slot_unless_an_older_version_serves(
    billed: Place, demo_clock: DemoClock
) -> None:
    actor = factories.actor_for(billed.tenant)
    version = make_version(billed.tenant)
    endpoint = deployments.deploy(actor=actor, name="churn", version_id=version.id)
    me = billed.node("s1", 1)
    billed.assign()
    settle(billed)
    say = {"tenant_id": billed.tenant.id, "endpoint_id": endpoint.id, "state": "failed", "message": "It is damaged."}
    assert deployments.report(**say, generation=1, answering=True)
    quarters_pass(billed, me, demo_clock, 1)
    assert billed.in_use() == 1, "what answers keeps its slot, and is charged"
    assert len(seconds(billed)) == 1
    assert deployments.report(**say, generation=1), "its node starts again, and nothing answers any more"
    used = seconds(billed)
    assert (billed.in_use(), held(billed)) == (0, 0)
    quarters_pass(billed, me, demo_clock, 2)
    assert seconds(billed) == used
    assert deployments.report(**say, generation=1)
    again = deployments.deploy(actor=actor, name="churn", version_id=version.id)
    assert (again.state, billed.in_use(), billed.assign()) == ("deploying", 1, 1)
    with tenant_scope(billed.tenant.id):
        row = endpoints.endpoint_detail(actor, endpoint.id)
        assert row.slot is not None and row.slot.state == "live"
        assert not [*ledger_faults(), *reconcile_faults()]


def quarters_pass(place: Place, me: nodes.Registered, demo_clock: DemoClock, number: int) -> None:
    """Let quarter hours pass on a slot that its node keeps."""
    for _ in range(number):
        demo_clock.advance(timedelta(minutes=15, seconds=1))
        with place.control():
            nodes.alive(me)
        for _, allocation_id in allocations.mine(me.node_id):
            assert place.renew(allocation_id, me)
        settle(place)


def test_a_price_that_ends_charges_what_was_used_before(billed: Place, demo_clock: DemoClock) -> None:
    billed.ask()
    me = billed.node("s1", 1)
    billed.assign()
    settle(billed)
    with tenant_scope(billed.tenant.id):
        book = billing_queries.price_books()[0].id
        free = [selling.NewPrice("serving.slot_seconds", {}, Decimal(0))]
        ends = quarter_of(now()) + timedelta(minutes=10)
        selling.publish(book_id=book, prices=free, effective_at=ends)
    quarters_pass(billed, me, demo_clock, 2)
    charges = [(end <= ends, amount) for _, end, _, amount in seconds(billed)]
    assert all((amount > 0) == before for before, amount in charges) and {before for before, _ in charges} == {
        True,
        False,
    }
    assert held(billed) == 0, "then the hold went back"


def test_the_last_quarter_of_a_month_is_charged_to_that_month(
    billed: Place, demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_scope(billed.tenant.id):
        zone = ZoneInfo(Tenant.objects.get(pk=billed.tenant.id).timezone)
        today = now().astimezone(zone)
    turn = (today.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None) + timedelta(days=32)).replace(
        day=1, tzinfo=zone
    )
    demo_clock.move_to(turn.astimezone(UTC) - timedelta(minutes=45) + timedelta(seconds=1))
    budgets.create_budget(actor=factories.actor_for(billed.tenant), amount=Decimal(100), at_limit="block_new")
    billed.ask()
    me = billed.node("s1", 1)
    billed.assign()
    touched: list[str] = []
    for owner, name in ((counters, "lock_budget_set"), (holds, "lock")):
        act = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *args, n=name, do=act, **more: (touched.append(n), do(*args, **more))[1]
        )
    quarters_pass(billed, me, demo_clock, 3)
    with tenant_scope(billed.tenant.id):
        spent = dict(BudgetPeriod.objects.order_by("period").values_list("period", "spent"))
        used = sum(amount for _, end, _, amount in seconds(billed) if end <= turn)
        assert list(spent.values()) == [used, 0], "the hold moved to the new month when the old one was charged"
        assert not [*ledger_faults(), *reconcile_faults()]
    assert touched[0] == "lock_budget_set", "the set of budgets comes before the hold"


@pytest.mark.parametrize("crowded", [False, True])
def test_quarters_settled_late_are_charged_to_their_own_months(
    billed: Place, demo_clock: DemoClock, crowded: bool
) -> None:
    with tenant_scope(billed.tenant.id):
        zone = ZoneInfo(Tenant.objects.get(pk=billed.tenant.id).timezone)
        today = now().astimezone(zone)
    month = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    turn = (month + timedelta(days=32)).replace(day=1, tzinfo=zone)
    demo_clock.move_to(turn.astimezone(UTC) - timedelta(hours=2) + timedelta(seconds=1))
    budgets.create_budget(actor=factories.actor_for(billed.tenant), amount=Decimal(12), at_limit="block_new")
    billed.ask()
    me = billed.node("s1", 1)
    billed.assign()
    demo_clock.advance(
        timedelta(hours=2, minutes=31)
    )  # nothing was settled meanwhile: more is used than an hour's hold
    if crowded:  # the new month has headroom for its own usage and the next quarter only
        with tenant_scope(billed.tenant.id):
            project = factories.default_project_id(billed.tenant)
            holds.hold(project_id=project, subject="job:1", amount=Money(Decimal(12) - 45 * 60 * UNIT - 1, "EUR"))
    with billed.control():
        nodes.alive(me)
    for _, allocation_id in allocations.mine(me.node_id):
        assert billed.renew(allocation_id, me)
    settle(billed)
    with tenant_scope(billed.tenant.id):
        spent = list(BudgetPeriod.objects.order_by("period").values_list("spent", flat=True))
        used = [
            sum(amount for _, end, _, amount in seconds(billed) if (end <= turn) == before) for before in (True, False)
        ]
        assert used[0] > 7100 * UNIT
        assert used[1] == 1800 * UNIT
        assert spent == used
        assert not [*ledger_faults(), *reconcile_faults()]


def test_a_slot_priced_from_a_months_start_locks_the_budgets_of_both_months_at_once(
    billed: Place, demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_scope(billed.tenant.id):
        zone = ZoneInfo(Tenant.objects.get(pk=billed.tenant.id).timezone)
        today = now().astimezone(zone)
    month = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    turn = (month + timedelta(days=32)).replace(day=1, tzinfo=zone)
    prices = [[selling.NewPrice("serving.slot_seconds", {}, unit)] for unit in (Decimal(0), UNIT)]
    demo_clock.move_to(turn.astimezone(UTC) - timedelta(hours=2))
    with tenant_scope(billed.tenant.id):
        book = billing_queries.price_books()[0].id
        for listed, begins in zip(prices, (turn - timedelta(minutes=90), turn), strict=True):
            selling.publish(book_id=book, prices=listed, effective_at=begins)
    budgets.create_budget(actor=factories.actor_for(billed.tenant), amount=Decimal(100), at_limit="block_new")
    demo_clock.move_to(turn.astimezone(UTC) - timedelta(minutes=14))
    billed.ask()
    me = billed.node("s1", 1)
    billed.assign()
    assert held(billed) == 0, "it costs nothing yet"
    locked: list[list[uuid.UUID]] = []
    for name in ("lock_scope", "lock_for_holds"):
        lock = getattr(counters, name)

        def seen(*asked: Any, of: Callable[..., Any] = lock, **more: Any) -> list[counters.Counter]:
            rows = of(*asked, **more)
            locked.append(sorted(row.id for row in rows))
            return rows  # type: ignore[no-any-return]

        monkeypatch.setattr(counters, name, seen)
    quarters_pass(billed, me, demo_clock, 1)
    assert held(billed) == 3600 * UNIT
    assert len(seconds(billed)) == 1, "the last quarter of the old month is measured"
    assert len(locked[0]) == 2 and all(set(later) <= set(locked[0]) for later in locked), (
        "both months, in one statement"
    )
    with tenant_scope(billed.tenant.id):
        assert not [*ledger_faults(), *reconcile_faults()]


@pytest.mark.parametrize("crowded", [False, True])
def test_a_slot_over_a_change_of_currency_is_paid_in_each_and_is_free_where_no_budget_pays(
    billed: Place, demo_clock: DemoClock, crowded: bool
) -> None:
    actor, version = factories.actor_for(billed.tenant), make_version(billed.tenant)
    budgets.create_budget(actor=actor, amount=Decimal(12), at_limit="block_new")
    book = book_in("USD", UNIT * 2)
    selling.enter_rate("2", pair="EUR USD")
    tenant = billed.tenant
    month = contracts.months_ahead(tenant, 1)[0]
    with selling.role("exchequer_operator"), selling._outside_any_scope():
        terms = contracts.ContractTerms(currency="USD")
        contracts.agree(
            operator=selling.SELLER,
            tenant_id=tenant.pk,
            book_id=book,
            starts_on=month,
            terms=terms,
            reason="they moved",
        )
    turn = day_start(month, tenant.timezone)
    demo_clock.move_to(turn - timedelta(minutes=29))
    endpoint = deployments.deploy(actor=actor, name="churn", version_id=version.id)
    me = billed.node("s1", 1)
    billed.assign()
    quarters_pass(billed, me, demo_clock, 1)
    demo_clock.move_to(turn + timedelta(minutes=16))
    if crowded:  # the new month has no headroom
        with tenant_scope(billed.tenant.id):
            project = factories.default_project_id(billed.tenant)
            holds.hold(project_id=project, subject="job:1", amount=Money(Decimal(24), "USD"))
    with billed.control():
        nodes.alive(me)
    for _, allocation_id in allocations.mine(me.node_id):
        billed.renew(allocation_id, me)
    settle(billed)
    with tenant_scope(billed.tenant.id):
        paid = {currency: sum(spent) for currency, *spent in BudgetPeriod.objects.values_list("currency", "spent")}
        cost = {True: Decimal(0), False: Decimal(0)}
        for _, end, _, amount in seconds(billed):
            cost[end <= turn] += amount
        assert paid == {"EUR": cost[True], "USD": cost[False]}
        assert cost[True] > 0 and cost[False] == (0 if crowded else 900 * UNIT * 2)
        assert endpoints.endpoint_detail(actor, endpoint.id).cost == Money(cost[False], "USD")
        assert not [*ledger_faults(), *reconcile_faults()]


def book_in(currency: str, unit: Decimal) -> uuid.UUID:
    """Return a book in another currency, whose slots cost so much a second."""
    with selling.role("exchequer_operator"), selling._outside_any_scope():
        book = publishing.create_book(operator=selling.SELLER, name="Elsewhere", currency=currency, reason="they moved")
        price = selling.NewPrice("serving.slot_seconds", {}, unit)
        publishing.publish(operator=selling.SELLER, book_id=book.pk, prices=[price], effective_at=None, reason="theirs")
    return book.pk
