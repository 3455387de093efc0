"""Workload of the demo, drawn from a seed: weekdays, hours, growing use, and failures. Pure."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from itertools import accumulate
from random import Random
from zoneinfo import ZoneInfo

from config.demo.organisations import Organisation

#: Outcomes of jobs and their frequencies.
OUTCOMES = {
    "succeeds": 0.80, "diverges": 0.05, "crashes_once": 0.035, "poison": 0.01, "is_cancelled": 0.035,
    "is_withdrawn": 0.015, "is_paused": 0.025, "runs_out_of_time": 0.01, "is_killed": 0.02,
}  # fmt: skip
SHORTEST_S, LONGEST_S = 240, 3 * 3600
SPREAD = 0.6
"""Standard deviation of the logarithm of a job's seconds around its theme's median."""
REST = timedelta(hours=7)
"""Nothing but a few short jobs is launched in this time before the end, so that all have ended by then."""

RECENT_S = ((150, 900), (70, 600), (25, 420))
"""Minutes before the end, and seconds, of each organisation's last jobs."""


@dataclass(frozen=True)
class Launch:
    """One job: when, by whom (index among those who may launch), for which project, how long it runs, how it ends.

    `usual_s`: the median time of jobs of its theme, which a quote would have learnt.
    """

    at: datetime
    person: int
    project: str
    name: str
    seconds: int
    usual_s: float
    outcome: str
    width: int
    rate: float
    epochs: int
    seed: int


def launches(one: Organisation, *, start: datetime, until: datetime, days: int, seed: int) -> list[Launch]:
    """Return an organisation's jobs between two times, oldest first."""
    chance = Random(f"{seed}:{one.slug}:launches")
    slots, weights = _slots(one, start, until - REST, days)
    count = max(3, round(one.jobs * days / 60))
    found = [_launch(one, chance, at) for at in _sample_slots(chance, slots, weights, count)]
    for minutes, seconds in RECENT_S:
        last = _launch(one, chance, until - timedelta(minutes=minutes * chance.uniform(0.85, 1.15)), outcome="succeeds")
        found.append(replace(last, seconds=seconds, usual_s=seconds))
    return sorted(found, key=lambda launch: launch.at)


def engineers(one: Organisation) -> list[int]:
    """Return the people who launch jobs."""
    return [at for at, person in enumerate(one.people) if person.role in ("engineer", "admin")]


def _slots(one: Organisation, start: datetime, until: datetime, days: int) -> tuple[list[datetime], list[float]]:
    """Return the hours in which somebody may launch, with their weights."""
    zone = ZoneInfo(one.timezone)
    first = start.astimezone(zone).date()
    slots, weights = [], []
    for day in range(days + 1):
        date = first + timedelta(days=day)
        grown = 1 + (one.growth - 1) * day / max(1, days)
        for hour, weight in enumerate(one.hours, one.opens):
            at = datetime.combine(date, time(hour), zone)
            if start <= at < until:
                slots.append(at)
                # One quiet day must not leave a short demo without any work.
                weights.append(weight * grown * max(0.02, one.weekday[date.weekday()]))
    return slots or [until], weights or [1.0]


def _sample_slots(chance: Random, slots: Sequence[datetime], weights: Sequence[float], count: int) -> list[datetime]:
    """Return so many times, spread evenly over the weights: every week has work, and no two are alike."""
    reached = list(accumulate(weights))
    places = [bisect(reached, (at + chance.random()) / count * reached[-1]) for at in range(count)]
    return [slots[min(place, len(slots) - 1)] + timedelta(seconds=chance.uniform(0, 3500)) for place in places]


def _launch(one: Organisation, chance: Random, at: datetime, outcome: str = "") -> Launch:
    theme = chance.choices(one.themes, weights=[theme.share for theme in one.themes])[0]
    seconds = chance.lognormvariate(math.log(theme.minutes * 60), SPREAD)
    return Launch(
        at=at,
        person=chance.choice(engineers(one)),
        project=theme.project,
        name=chance.choice(theme.names).format(n=chance.randint(2, 99)),
        seconds=round(min(LONGEST_S, max(SHORTEST_S, seconds))),
        usual_s=theme.minutes * 60,
        outcome=outcome or chance.choices(list(OUTCOMES), weights=list(OUTCOMES.values()))[0],
        width=chance.choice((64, 96, 128, 192, 256)),
        rate=chance.choice((0.0005, 0.001, 0.002, 0.004)),
        epochs=chance.choice((30, 40, 60)),
        seed=chance.randrange(2**31),
    )
