"""Reported batches that would block a tenant's budgets for long, or exceed an amount's range, are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from billing import queries
from billing.metering import meters
from billing.metering.metering import UsageRefused
from billing.models import UsageEvent, UsageKey
from billing.reported import sender_limits
from billing.reported.ingest import TooManyEvents, ingest
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import factories, selling
from tests.support.usage import priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, NOW, for_=timedelta(days=2))


@pytest.fixture
def actor(tenant: Tenant) -> Actor:
    return factories.actor_for(tenant)


def event(quantity: int, kind: str = "device.seconds", **more: Any) -> dict[str, Any]:
    whole = {"specversion": "1.0", "id": uuid4().hex, "source": "gateway", "type": kind, "subject": "r", **more}
    return {**whole, "data": {"quantity": quantity}}


def stored(tenant: Tenant) -> int:
    with tenant_scope(tenant.id):
        assert UsageKey.objects.count() <= UsageEvent.objects.count()
        return UsageEvent.objects.count()


def test_a_batch_of_too_many_quarter_hours_stores_nothing_and_says_to_send_less(tenant: Tenant, actor: Actor) -> None:
    with pytest.raises(TooManyEvents) as refused:
        ingest(actor=actor, events=[event(86_400) for _ in range(52)])
    assert refused.value.status == 413
    assert "5,000 quarter hours" in refused.value.message
    assert stored(tenant) == 0
    assert ingest(actor=actor, events=[event(86_400) for _ in range(2)]).accepted == 2
    assert 96 * 2 <= stored(tenant) <= 97 * 2


def test_a_thousand_intervals_of_an_hour_are_one_batch(tenant: Tenant, actor: Actor) -> None:
    assert ingest(actor=actor, events=[event(3600, time="2026-10-05T11:50:00Z") for _ in range(1000)]).accepted == 1000
    assert stored(tenant) == 5000


def test_an_event_beyond_the_maximum_amount_blocks_no_other(
    tenant: Tenant, actor: Actor, demo_clock: DemoClock
) -> None:
    with tenant_scope(tenant.id):
        meter = meters.define(actor=actor, title="Calls", unit="call", event_type="x.calls")
        dear = [selling.NewPrice(key, {}, Decimal(999_999_999_999)) for key in (meter.key, "device_seconds")]
        selling.publish(book_id=queries.price_books()[0].id, prices=dear)
        sender_limits.set_limits(actor=actor, events=1_000, amount=Decimal(10) ** 14)
    demo_clock.advance(timedelta(minutes=10))
    at = "2026-10-05T12:09:00Z"
    wrong = [event(10**12, "x.calls", time=at) for _ in range(200)]
    with pytest.raises(UsageRefused) as refused:
        # The hour of device time starts under the old price list and ends under the expensive one.
        ingest(actor=actor, events=[*wrong, event(3600, time=at), event(1, "x.calls", time=at)])
    listed = refused.value.extra["refused"]
    assert [one["index"] for one in listed] == list(range(201))
    assert {one["reason"] for one in listed} == {"it would cost more than 10^12: check its quantity and the price"}
    assert stored(tenant) == 1


def test_an_event_that_is_counted_is_known_even_where_its_sender_may_report_less_now(
    tenant: Tenant, actor: Actor
) -> None:
    sent = event(3600, time="2026-10-05T11:50:00Z")
    assert ingest(actor=actor, events=[sent]).accepted == 1
    sender_limits.set_limits(actor=actor, events=0, amount=Decimal(0))
    assert ingest(actor=actor, events=[sent]).accepted == 0, "sent twice, counted once"
    with pytest.raises(UsageRefused):
        ingest(actor=actor, events=[{**sent, "id": "another"}])
    assert stored(tenant) == 5
