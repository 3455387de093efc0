"""A run's typical time is a range within its limits, and so is its cost."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from billing.money import Money
from billing.quotes import Estimate
from compute.orders import Order
from models_app.views.offers import warnings_of


def order(typical_s: int, max_seconds: int) -> Order:
    """An order of a typical time and a longest one."""
    return Order(
        name="a",
        kind="train",
        project_id=uuid4(),
        spec={},
        device_class="cpu",
        tier="on_demand",
        max_seconds=max_seconds,
        max_cost=None,
        tags={},
        needed_s=typical_s,
        typical_s=min(typical_s, max_seconds),
    )


@pytest.mark.parametrize(
    ("typical_s", "max_seconds", "between"),
    [
        (5, 3600, (2, 15)),
        (1, 3600, (1, 3)),
        (100, 120, (50, 120)),
        (60, 60, (30, 60)),
        (2148, 600, (600, 600)),
        (1, 1, (1, 1)),
    ],
)
def test_runs_end_around_the_typical_time_and_within_the_limit(
    typical_s: int, max_seconds: int, between: tuple[int, int]
) -> None:
    assert order(typical_s, max_seconds).typical_range() == between


def test_the_runs_that_were_measured_lie_in_their_range() -> None:
    for typical_s, measured in ((5, (4.5, 4.6, 5.4, 7.0, 8.9, 9.9, 12.9)), (7, (6.9, 7.0, 7.3))):
        shortest, longest = order(typical_s, 3600).typical_range()
        assert all(shortest <= seconds <= longest for seconds in measured)


def test_a_cost_of_a_range_never_exceeds_the_worst_case() -> None:
    price = Estimate(
        unit_amount=Decimal("0.0005"),
        currency="EUR",
        typical=Money(Decimal("0.0025"), "EUR"),
        worst=Money(Decimal("0.005"), "EUR"),
        price_version=uuid4(),
        price_id=uuid4(),
        budget_left_after=None,
        billable_limit_s=Decimal(10),
    )
    assert price.cost_of(2) == Money(Decimal("0.001"), "EUR")
    assert price.cost_of(15) == price.worst


def test_a_run_that_typically_needs_all_its_time_is_warned_of() -> None:
    assert warnings_of(order(60, 60), Decimal(1), "EUR")[0].parts == (30, 180, 60)
    (said,) = warnings_of(order(7200, 600), Decimal(1), "EUR")
    assert said.parts == (3600, 21600, 600), "what it needs, not what the limit leaves of it"
    assert "the limit will probably stop it, with a checkpoint and no model" in said.text
    assert warnings_of(order(59, 60), Decimal(1), "EUR") == []
