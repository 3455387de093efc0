"""A run's range is learnt from similar runs, lies within its limits, and so does its cost."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from uuid import uuid4

import pytest

from billing.money import Money
from billing.pricing.quotes import Estimate
from compute import limits
from compute.estimates.forecast import WORK, Forecast, Run, as_prior, forecast, learnt, start_up
from compute.estimates.past_runs import Kept
from compute.jobs.job_request import JobRequest
from compute.kinds import Plan
from models_app.views.launches.options import learnt_from, warnings_of

START_S = 6.0
NONE_YET = Kept()


def order(
    between: tuple[float, float, float],
    max_seconds: int,
    *,
    runs: int = 0,
    source: str = "defaults",
    kept: Kept = NONE_YET,
) -> JobRequest:
    """Return a job request with a range and a time limit."""
    least, typical, most = between
    return JobRequest(
        name="a", kind="train", project_id=uuid4(), spec={}, device_class="cpu", tier="on_demand",
        max_seconds=max_seconds, max_cost=None, tags={}, plan=Plan(typical_s=typical),
        forecast=Forecast(1.0, least, typical, most, runs, source), kept=kept,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typical", "max_seconds", "between"),
    [
        ((2.5, 5, 14.2), 3600, (2, 15)),
        ((0.2, 0.5, 1), 3600, (1, 1)),
        ((50, 100, 300), 120, (50, 120)),
        ((1074, 2148, 6444), 600, (600, 600)),
    ],
)
def test_a_range_holds_whole_seconds_and_lies_within_the_limit(
    typical: tuple[float, float, float], max_seconds: int, between: tuple[int, int]
) -> None:
    assert order(typical, max_seconds).typical_range() == between


def past(count: int, *, slower: float, spread: float, seed: int = 1) -> list[Run]:
    """Return runs of a machine that takes `slower` times the formula."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        nominal = chance.choice((1.0, 5.0, 20.0))
        start = START_S * math.exp(chance.gauss(0, 0.1))
        found.append(
            Run(f"work {number % 3}", nominal, start + nominal * slower * math.exp(chance.gauss(0, spread)), start)
        )
    return found


@pytest.mark.parametrize("slower", [0.5, 1.0, 4.7, 14.0])
@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_nine_runs_of_ten_end_within_the_range_on_whatever_machine(slower: float, spread: float) -> None:
    inside = judged = 0
    for seed in range(20):
        runs = past(25, slower=slower, spread=spread, seed=seed)
        for number in range(4, len(runs)):
            now, before = runs[number], runs[:number][::-1]
            known = learnt(before, WORK, start_up(START_S), nominal_s=now.nominal_s, work_key=now.work_key)
            found = forecast(now.nominal_s, *known)
            judged += 1
            inside += math.floor(found.least_s) <= now.seconds <= math.ceil(found.most_s)
    assert inside / judged >= 0.9, "the range shall hold"


def test_the_range_is_wide_before_any_run_and_narrow_after_many_that_agree() -> None:
    cold = forecast(20.0, WORK, start_up(START_S))
    warm = forecast(20.0, *learnt(past(30, slower=3, spread=0.05), WORK, start_up(START_S), nominal_s=20.0))
    assert cold.most_s / cold.least_s > 3
    assert warm.most_s / warm.least_s < 2
    assert warm.typical_s == pytest.approx(66, rel=0.1), "what the machine takes, not what the formula says"
    assert warm.start_s == pytest.approx(START_S, rel=0.1)


def test_one_outlier_does_not_change_the_range_of_many_runs() -> None:
    runs = past(20, slower=1, spread=0.05)
    freak = [Run("work 0", 20.0, 20_000.0, START_S), *runs]
    usual, after = (forecast(20.0, *learnt(some, WORK, start_up(START_S), nominal_s=20.0)) for some in (runs, freak))
    assert after.typical_s < 1.2 * usual.typical_s
    assert after.most_s < 3 * usual.most_s


def test_the_very_same_work_counts_more_than_work_of_the_family() -> None:
    others = past(20, slower=8, spread=0.05)
    same = [Run("mine", 20.0, START_S + 20.0, START_S) for _ in range(4)]
    known = learnt([*same, *others], WORK, start_up(START_S), nominal_s=20.0, work_key="mine")
    assert forecast(20.0, *known).typical_s < 45
    known = learnt([*same, *others], WORK, start_up(START_S), nominal_s=20.0, work_key="another")
    assert forecast(20.0, *known).typical_s > 80


def test_own_runs_soon_outweigh_those_of_other_tenants() -> None:
    work, start = learnt(past(200, slower=10, spread=0.1), WORK, start_up(START_S))
    known = learnt(past(10, slower=1, spread=0.1), as_prior(work), as_prior(start), nominal_s=20.0)
    assert forecast(20.0, *known).typical_s < 60


def test_a_default_limit_is_three_times_the_range_and_three_minutes_at_least() -> None:
    assert limits.default_seconds(12.5) == 180
    assert limits.default_seconds(100) == 300
    assert limits.default_seconds(10**9) == limits.MOST_SECONDS


def test_a_cost_of_a_range_never_exceeds_the_worst_case() -> None:
    money = {name: Money(Decimal("0.0025"), "EUR") for name in ("typical", "least", "most")}
    price = Estimate(
        unit_amount=Decimal("0.0005"),
        currency="EUR",
        worst=Money(Decimal("0.005"), "EUR"),
        price_version=uuid4(),
        price_id=uuid4(),
        budget_left_after=None,
        billable_limit_s=Decimal(10),
        **money,
    )
    assert price.cost_of(2) == Money(Decimal("0.001"), "EUR")
    assert price.cost_of(15) == price.worst


def test_a_run_that_typically_needs_all_its_time_is_warned_of() -> None:
    assert warnings_of(order((30, 60, 180), 60), Decimal(1), "EUR")[0].parts == (30, 180, 60)
    (said,) = warnings_of(order((3600, 7200, 21600), 600), Decimal(1), "EUR")
    assert said.parts == (3600, 21600, 600), "what it needs, not what the limit leaves of it"
    assert "the limit will probably stop it, with a checkpoint and no model" in said.text
    assert warnings_of(order((30, 59, 180), 60), Decimal(1), "EUR") == []


def test_a_quote_shows_what_it_is_based_on_and_how_earlier_ranges_held() -> None:
    own = learnt_from(order((1, 2, 3), 60, runs=12, source="own", kept=Kept(9, 10)))
    assert own == "Estimated from the last 12 similar runs. 9 of the last 10 stayed within their range."
    others = learnt_from(order((1, 2, 3), 60, runs=37, source="installation"))
    assert "similar runs of all organisations" in others
    assert "37" not in others, "how much others do is theirs"
    assert "the range is wide" in learnt_from(order((1, 2, 3), 60))
