"""The seller's schedule of reminders: days after the due day, and what is sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from billing.models.settling import DUNNING_STEPS, STOP
from tenants.errors import Invalid

MOST_STEPS, LONGEST_DAYS = 10, 365
HELP = (
    "Give up to 10 steps, such as 3 remind, 10 remind, 20 final, 30 stop: days after the due day, each later than the one before. "
    "The last may be stop: from then on new launches and deploys wait for the payment."
)
WORDS = re.compile(r"\s*(\d{1,4})\s+([a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `days` after the due day of an unpaid invoice."""

    days: int
    step: str

    def stored(self) -> dict[str, Any]:
        """Return what is kept with the seller."""
        return {"days": self.days, "step": self.step}


def checked(steps: Sequence[Step]) -> Sequence[Step]:
    """Return a schedule that holds. Raises Invalid."""
    days = [one.days for one in steps]
    ordered = all(before < after for before, after in zip([0, *days], days, strict=False))
    known = all(one.step in DUNNING_STEPS for one in steps) and all(one.step != STOP for one in steps[:-1])
    if len(steps) > MOST_STEPS or not ordered or not known or any(one > LONGEST_DAYS for one in days):
        raise Invalid(fields={"dunning": [HELP]})
    return steps


def from_text(text: str) -> Sequence[Step]:
    """Read a schedule as the console's form writes it: 3 remind, 20 final. Empty text has no steps. Raises Invalid."""
    if not text.strip():
        return []
    found = [WORDS.fullmatch(part) for part in text.split(",")]
    if None in found:
        raise Invalid(fields={"dunning": [HELP]})
    return checked([Step(int(one[1]), one[2]) for one in found if one])


def as_text(steps: Sequence[Step]) -> str:
    """Return a schedule as the console's form shows it."""
    return ", ".join(f"{one.days} {one.step}" for one in steps)


def reached(steps: Sequence[Step], overdue: int, done: Sequence[Step]) -> list[Step]:
    """Return the steps that an invoice `overdue` days past its due day has reached and not done, the earliest first.

    A stop that a changed schedule moved before steps that are done is reached all the same.
    """
    latest = max((one.days for one in done), default=0)
    stopped = any(one.step == STOP for one in done)
    return [one for one in steps if one.days <= overdue and (latest < one.days or (one.step == STOP and not stopped))]
