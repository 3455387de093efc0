"""Reservations of endpoints, against the real ledger: never too much, and all of it is released."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from billing.budgets.budgets import change_budget, create_budget
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import Interval, Recorded, record_usage
from billing.models import BudgetPeriod, Hold, PriceBook
from billing.money import Money
from billing.queries import headroom
from compute.fleet import nodes
from models_app.endpoints import deployments, endpoints, reservations
from models_app.endpoints.reservations import BudgetExceeded, Slice
from models_app.models import Endpoint, ServingSlice
from models_app.serving.accounting import settlement
from models_app.serving.database import Database
from tenants.clock import now
from tenants.errors import NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.conftest import DemoClock
from tests.support import factories, selling
from tests.support.endpoints import make_endpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

FULL = Decimal("0.13")  # 5,000 requests at 0.00002 and 60,000 ms at 0.0000005
LEAST = Decimal("0.0015")


class ServingEndpoint:
    """A tenant with one endpoint, and short helpers to hold and use its money."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.make_tenant()
        self.actor = factories.actor_for(self.tenant)
        self.endpoint: Endpoint = make_endpoint(self.tenant)
        self.boot = uuid.uuid4()
        self.keys = 0
        with tenant_scope(self.tenant.id):
            selling.provision_defaults()

    def budget(self, amount: str, at_limit: str = "block_new") -> uuid.UUID:
        """Limit what the tenant may spend in a month."""
        budget = create_budget(actor=self.actor, amount=Decimal(amount), at_limit=at_limit)
        return uuid.UUID(str(budget.pk))

    def take(self, number: int = 1, boot: uuid.UUID | None = None) -> Slice:
        """Take a slice as the node does."""
        return reservations.take(self.tenant.id, self.endpoint.id, boot or self.boot, number)

    def answer(self, money: Slice, requests: int, ms: str = "0", at: datetime | None = None) -> Recorded:
        """Record a batch as the node does."""
        self.keys += 1
        start = at or now()
        common: dict[str, Any] = {
            "resource": self.endpoint.subject,
            "project_id": money.project_id,
            "start": start,
            "end": start + timedelta(milliseconds=10),
            "dims": {"endpoint": self.endpoint.name},
            "source": "serving",
        }
        key = f"endpoint:{self.endpoint.id}:{money.boot}:{self.keys}"
        batch = [Interval(key=key, meter="inference_requests", quantity=Decimal(requests), **common)]
        if Decimal(ms):
            batch.append(Interval(key=f"{key}:ms", meter="inference_ms", quantity=Decimal(ms), **common))
        with tenant_scope(self.tenant.id):
            return record_usage(batch, hold_id=money.hold_id)

    def held(self) -> Decimal:
        """Return what is left of open holds."""
        with tenant_scope(self.tenant.id):
            return sum((hold.amount - hold.settled for hold in Hold.objects.filter(state="open")), Decimal(0))

    def room(self) -> Decimal | None:
        """Return the headroom of the tightest budget."""
        with tenant_scope(self.tenant.id):
            return headroom(self.endpoint.project_id)

    def sound(self) -> None:
        """Assert that ledger, counters, holds, roll-ups and lines agree."""
        with tenant_scope(self.tenant.id):
            assert [str(fault) for fault in (*ledger_faults(), *reconcile_faults())] == []


@pytest.fixture
def serving() -> Iterator[ServingEndpoint]:
    made = ServingEndpoint()
    yield made
    made.sound()


def test_a_slice_holds_what_five_thousand_requests_cost(serving: ServingEndpoint) -> None:
    money = serving.take()
    assert (money.amount, money.request_price, money.ms_price) == (FULL, Decimal("0.00002"), Decimal("0.0000005"))
    assert (money.currency, money.project_id) == ("EUR", serving.endpoint.project_id)
    assert money.until - money.db_now == reservations.LIFE
    assert serving.held() == FULL
    with tenant_scope(serving.tenant.id):
        placed = Hold.objects.get()
        assert (placed.placed_by, placed.placed_by_id) == (
            serving.endpoint.created_by_label,
            serving.endpoint.created_by,
        ), "an explained line names the person who deployed"


def test_answered_requests_are_paid_from_the_slice_and_the_rest_comes_back(serving: ServingEndpoint) -> None:
    serving.budget("1")
    money = serving.take()
    recorded = serving.answer(money, 100, "250.5")
    cost = money.cost(100, Decimal("250.5"))
    assert (recorded.amount, recorded.exhausted, recorded.accepted) == (cost, False, 2)
    assert serving.room() == 1 - FULL
    assert reservations.close(serving.tenant.id, money).amount == FULL - cost
    assert reservations.close(serving.tenant.id, money).amount == 0
    assert (serving.held(), serving.room()) == (0, 1 - cost)
    with tenant_scope(serving.tenant.id):
        assert endpoints.endpoint_detail(serving.actor, serving.endpoint.id).cost.amount == cost
        assert ServingSlice.objects.get().closed_at is not None


def test_the_same_slice_asked_for_twice_is_one_hold(serving: ServingEndpoint) -> None:
    first = serving.take()
    serving.answer(first, 10)
    second = serving.take()
    assert (second.hold_id, second.amount) == (first.hold_id, FULL - first.cost(10, 0))
    assert serving.held() == FULL - first.cost(10, 0)


def test_a_budget_with_little_room_gives_a_small_slice_and_one_with_less_refuses(serving: ServingEndpoint) -> None:
    budget = serving.budget("0.05")
    small = serving.take()
    assert (small.amount, serving.room()) == (Decimal("0.05"), 0)
    with pytest.raises(BudgetExceeded) as refused:
        serving.take(2)
    assert (refused.value.code, refused.value.status) == ("budget_exceeded", 402)
    with tenant_scope(serving.tenant.id):
        assert ServingSlice.objects.count() == 1, "nothing half made"
    reservations.close(serving.tenant.id, small)
    for amount, fits in ((LEAST - Decimal("0.0001"), False), (LEAST, True)):
        change_budget(actor=serving.actor, budget_id=budget, amount=amount)
        if fits:
            assert serving.take(3).amount == LEAST
        else:
            with pytest.raises(BudgetExceeded):
                serving.take(3)


def test_a_budget_that_only_notifies_does_not_stop_serving(serving: ServingEndpoint) -> None:
    serving.budget("0", at_limit="notify")
    assert serving.take().amount == FULL


def test_of_sixteen_racing_slices_three_are_taken(serving: ServingEndpoint) -> None:
    serving.budget(str(FULL * 3))
    taken: list[Slice] = []
    refused: list[Exception] = []

    def node(number: int) -> None:
        try:
            taken.append(serving.take(number))
        except BudgetExceeded as fault:
            refused.append(fault)
        connection.close()

    threads = [threading.Thread(target=node, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (3, 13)
    assert sum(money.amount for money in taken) == serving.held() == FULL * 3
    for money in taken:
        serving.answer(money, 5000, "60000")
        reservations.close(serving.tenant.id, money)
    with tenant_scope(serving.tenant.id):
        month = BudgetPeriod.objects.get()
        assert (month.spent, month.held, month.limit) == (FULL * 3, 0, FULL * 3)


def test_what_a_slice_does_not_cover_is_charged_with_nothing(serving: ServingEndpoint) -> None:
    serving.budget("0.002", at_limit="stop_running")
    money = serving.take()
    recorded = serving.answer(money, 150)
    assert (recorded.amount, recorded.excluded, recorded.exhausted) == (Decimal("0.002"), 50, True)


def record_of(serving: ServingEndpoint, money: Slice, number: int, requests: int) -> dict[str, Any]:
    """Return a batch's record as the node spools it."""
    return {
        "tenant": str(serving.tenant.id), "endpoint": str(serving.endpoint.id), "name": serving.endpoint.name,
        "project": str(money.project_id), "n": number, "slice": money.number, "hold": str(money.hold_id),
        "at": money.db_now.isoformat(), "us": 5000, "requests": requests, "ms": "1.5",
    }  # fmt: skip


def test_a_budget_that_is_lowered_ends_its_slices_and_refuses_the_next(serving: ServingEndpoint) -> None:
    limit = serving.budget("1", at_limit="stop_running")
    money, backend = serving.take(), Database("serving.a", 0)
    assert backend.settle(serving.tenant.id, serving.boot, [record_of(serving, money, 1, 100)]) == set()
    change_budget(actor=serving.actor, budget_id=limit, amount=Decimal(0))
    assert backend.settle(serving.tenant.id, serving.boot, [record_of(serving, money, 2, 100)]) == {str(money.hold_id)}
    with pytest.raises(BudgetExceeded):
        serving.take(2)
    reservations.close(serving.tenant.id, money)


def test_quarantined_records_are_replayed_by_the_command(
    serving: ServingEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    money, folder = serving.take(), tmp_path / "serving" / "a" / "spool"
    folder.mkdir(parents=True)
    unsound = record_of(serving, money, 2, 50) | {"requests": "many"}
    records = [record_of(serving, money, 1, 100), unsound, record_of(serving, money, 3, 20)]
    outcome = settlement.settle(Database("serving.a", 0), serving.tenant.id, serving.boot, records)
    assert [record["n"] for record, _ in outcome.refused] == [2], "its neighbours are accounted for"
    assert serving.held() == FULL - money.cost(120, 3)
    settlement.quarantine(folder, serving.boot, [(unsound | {"requests": 50}, "mended")])
    monkeypatch.setattr(settings, "EXCHEQUER", settings.EXCHEQUER.model_copy(update={"home": tmp_path}))
    with as_control():
        call_command("replay_refused")
    assert serving.held() == FULL - money.cost(170, Decimal("4.5"))
    assert not list(folder.iterdir())


def test_a_slice_goes_on_over_the_end_of_a_month(serving: ServingEndpoint, demo_clock: DemoClock) -> None:
    demo_clock.move_to(datetime(2027, 1, 31, 23, 58, tzinfo=UTC))
    serving.budget("1")
    money = serving.take()
    serving.answer(money, 100)
    demo_clock.move_to(datetime(2027, 2, 1, 0, 1, tzinfo=UTC))
    serving.answer(money, 200)
    with tenant_scope(serving.tenant.id):
        spent = {month.period.month: (month.spent, month.held) for month in BudgetPeriod.objects.all()}
    left = FULL - money.cost(300, 0)
    assert spent == {1: (money.cost(100, 0), 0), 2: (money.cost(200, 0), left)}
    assert reservations.close(serving.tenant.id, money).amount == left
    assert serving.held() == 0


def test_what_a_dead_run_left_is_closed_after_its_spool_was_replayed(serving: ServingEndpoint) -> None:
    serving.budget("1")
    first, second = serving.take(1), serving.take(2)
    after = uuid.uuid4()
    own = serving.take(1, boot=after)
    serving.answer(first, 50)
    assert reservations.close_left_behind(serving.tenant.id, serving.endpoint.id, serving.boot) == 2
    assert reservations.close_left_behind(serving.tenant.id, serving.endpoint.id, serving.boot) == 0
    assert serving.held() == own.amount, "what the run of now holds stays"
    assert reservations.close(serving.tenant.id, second).amount == 0
    late = serving.answer(second, 10)
    assert (late.amount, late.accepted) == (0, 1), "usage after its money is gone is kept and costs nothing"


@pytest.mark.parametrize("sweep", [True, False])
def test_each_slice_is_closed_in_a_transaction_of_its_own(
    serving: ServingEndpoint, demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch, sweep: bool
) -> None:
    serving.budget("1")
    serving.take(1)
    second = serving.take(2)
    demo_clock.advance(timedelta(hours=2))

    def close() -> int:
        if sweep:
            return reservations.close_forgotten(serving.tenant.id)
        return reservations.close_left_behind(serving.tenant.id, serving.endpoint.id, serving.boot)

    def fails_for_the_second(*, hold_id: uuid.UUID) -> Money:
        if hold_id == second.hold_id:
            raise RuntimeError("nobody foresaw this")
        return release(hold_id=hold_id)

    release = reservations.holds.release
    with monkeypatch.context() as patched:
        patched.setattr(reservations.holds, "release", fails_for_the_second)
        with pytest.raises(RuntimeError):
            close()
    assert serving.held() == second.amount, "the counters of the first are not kept locked for the second"
    assert (close(), close(), serving.held()) == (1, 0, 0)


def test_late_usage_of_one_slice_and_the_closing_of_two_do_not_meet(serving: ServingEndpoint) -> None:
    serving.budget("1")
    serving.take(1)
    second = serving.take(2)
    with ThreadPoolExecutor(1) as pool:
        with tenant_scope(serving.tenant.id):
            Hold.objects.select_for_update(no_key=True).get(id=second.hold_id)
            closing = pool.submit(closed_elsewhere, serving)
            wait_until(lambda: Hold.objects.filter(state="open").count() == 1, "the first is closed, the second waits")
            assert serving.answer(second, 10).amount == second.cost(10, 0), "which locks the counters after the hold"
        assert closing.result(30) == 2
    assert serving.held() == 0


def closed_elsewhere(serving: ServingEndpoint) -> int:
    """Close in a thread what a run left, and end the thread's connection."""
    try:
        return reservations.close_left_behind(serving.tenant.id, serving.endpoint.id, serving.boot)
    finally:
        connection.close()


def test_money_of_a_node_that_never_came_back_is_given_back(
    serving: ServingEndpoint, demo_clock: DemoClock, superuser: psycopg.Connection
) -> None:
    me = nodes.register(name="serving.a", hostname="h", boot=serving.boot, found=[], missing_layers=[], serves=True)
    gone = serving.take(1, boot=uuid.uuid4())
    kept = serving.take(1)
    assert reservations.close_forgotten(serving.tenant.id) == 0, "both are young"
    demo_clock.advance(timedelta(hours=2))
    assert nodes.alive(me)
    demo_clock.advance(timedelta(minutes=6))
    assert reservations.close_forgotten_everywhere() >= 0
    assert reservations.close_forgotten(serving.tenant.id) == 1
    assert serving.held() == kept.amount, "a node that is silent may come back with its spool"
    assert gone.hold_id != kept.hold_id
    demo_clock.advance(timedelta(hours=25))
    assert reservations.close_forgotten(serving.tenant.id) == 1
    assert serving.held() == 0


def test_reservations_unknown_to_a_live_node_are_released(
    serving: ServingEndpoint, demo_clock: DemoClock, superuser: psycopg.Connection
) -> None:
    me = nodes.register(name="serving.a", hostname="h", boot=serving.boot, found=[], missing_layers=[], serves=True)
    serving.take(1)
    demo_clock.advance(timedelta(minutes=50))
    young = serving.take(2)
    demo_clock.advance(timedelta(minutes=20))
    assert nodes.alive(me)
    assert reservations.close_forgotten(serving.tenant.id) == 1
    assert serving.held() == young.amount


def test_the_number_of_a_closed_slice_pays_for_nothing(serving: ServingEndpoint) -> None:
    first = serving.take(1)
    assert serving.take(1).hold_id == first.hold_id, "asked again, because the answer was lost"
    reservations.close(serving.tenant.id, first)
    with pytest.raises(reservations.SliceClosed):
        serving.take(1)
    assert serving.held() == 0
    assert not serving.take(2).free


def test_an_undeployed_endpoint_gets_no_money_and_gives_back_what_it_has(serving: ServingEndpoint) -> None:
    money = serving.take()
    deployments.undeploy(actor=serving.actor, endpoint_id=serving.endpoint.id)
    with pytest.raises(NotFound):
        serving.take(2)
    serving.answer(money, 5)
    assert reservations.close(serving.tenant.id, money).amount == FULL - money.cost(5, 0)
    with pytest.raises(NotFound):
        reservations.take(factories.make_tenant().id, serving.endpoint.id, serving.boot, 1)


def publish(
    serving: ServingEndpoint, request_price: str, ms_price: str, ahead: timedelta = timedelta(minutes=6)
) -> datetime:
    """Publish new prices; return their start."""
    with tenant_scope(serving.tenant.id):
        at = now() + ahead
        prices = [
            selling.NewPrice("inference_requests", {}, Decimal(request_price)),
            selling.NewPrice("inference_ms", {}, Decimal(ms_price)),
        ]
        selling.publish(book_id=PriceBook.objects.get().pk, prices=prices, effective_at=at)
        return at


def test_no_price_changes_within_a_slice(serving: ServingEndpoint, demo_clock: DemoClock) -> None:
    unknown = serving.take(9)
    ahead = timedelta(minutes=5, seconds=30)  # five minutes are required, when it is stored
    at = publish(serving, "0.001", "0", ahead)
    assert at - unknown.until > ahead - reservations.LIFE >= timedelta(minutes=1), (
        "nor one that is published after it was taken"
    )
    demo_clock.advance(timedelta(minutes=3))
    before = serving.take(1)
    assert (before.until, before.amount) == (at, FULL)
    demo_clock.advance(timedelta(minutes=7))
    after = serving.take(2)
    assert (after.request_price, after.amount, after.until - after.db_now) == (Decimal("0.001"), 5, reservations.LIFE)
    assert serving.answer(after, 3).amount == Decimal("0.003")


def test_what_costs_nothing_holds_nothing(serving: ServingEndpoint, demo_clock: DemoClock) -> None:
    serving.budget("0")
    publish(serving, "0", "0")
    demo_clock.advance(timedelta(minutes=7))
    money = serving.take()
    assert (money.hold_id, money.amount) == (None, 0)
    assert serving.answer(money, 1000, "99").amount == 0
    assert reservations.close(serving.tenant.id, money).amount == 0
    publish(serving, "0.001", "0")
    demo_clock.advance(timedelta(minutes=4))
    again = serving.take(2)
    assert again.until - again.db_now < reservations.LIFE, "and no longer than until it costs something"


def test_a_price_of_the_endpoint_itself_applies(serving: ServingEndpoint, demo_clock: DemoClock) -> None:
    with tenant_scope(serving.tenant.id):
        prices = [
            selling.NewPrice("inference_requests", {}, Decimal("0.00002")),
            selling.NewPrice("inference_requests", {"endpoint": "churn"}, Decimal("0.5")),
            selling.NewPrice("inference_ms", {}, Decimal(0)),
        ]
        selling.publish(book_id=PriceBook.objects.get().pk, prices=prices)
    demo_clock.advance(timedelta(minutes=7))
    money = serving.take()
    assert money.request_price == Decimal("0.5")
    assert serving.answer(money, 2).amount == 1
