"""Take readings out of a batch before anything else looks at it, and parse them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.rating.aggregation import COUNT, OF_READINGS, UNIQUE
from billing.rating.quantity import count_refusal
from billing.reported.cloudevents import LONGEST_VALUE, NUMBER, EventRefused, Incoming, parse
from tenants.parsing import holds_nul

LABEL = "label"
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One parsed event of a meter that takes readings; its own quantity is 1, and `value` what was read."""

    event: Incoming
    aggregation: str
    value: Decimal
    label: str

    @property
    def content(self) -> str:
        """Return the canonical content: the same id with another content is a conflict."""
        return json.dumps([self.event.content, f"{self.value.normalize():f}", self.label])


def split(events: Sequence[Any], kinds: Mapping[str, str]) -> tuple[dict[int, Any], dict[int, tuple[Any, str]]]:
    """Return the events that are usage by themselves, and the readings with their aggregation, by index.

    `kinds`: the aggregations other than sums by event type. An event of a meter that counts events becomes a quantity of 1.
    """
    if not kinds:
        return dict(enumerate(events)), {}
    alone: dict[int, Any] = {}
    readings: dict[int, tuple[Any, str]] = {}
    for number, event in enumerate(events):
        kind = kinds.get(event["type"], "") if isinstance(event, dict) and isinstance(event.get("type"), str) else ""
        if kind in OF_READINGS:
            readings[number] = (event, kind)
        else:
            alone[number] = _with(event, {"quantity": 1}) if kind == COUNT else event
    return alone, readings


def arrival(event: Any, aggregation: str) -> Arrival:
    """Parse one reading. Raises EventRefused with the reason."""
    parsed = parse(_with(event, {"quantity": 1}, without=LABEL if aggregation == UNIQUE else ""))
    data = event["data"]
    if aggregation != UNIQUE:
        return Arrival(parsed, aggregation, _value(data.get("quantity")), "")
    label = data.get(LABEL)
    if isinstance(label, int | Decimal) and not isinstance(label, bool):
        label = str(label)
    if not isinstance(label, str) or not label.strip():
        raise EventRefused("data.label: give the text or number that this meter counts once, such as the id of a user")
    if len(label) > LONGEST_VALUE or holds_nul(label):
        raise EventRefused(f"data.label: use at most {LONGEST_VALUE} characters, none of them NUL")
    return Arrival(parsed, aggregation, ONE, label)


def _with(event: Any, data: Mapping[str, Any], without: str = "") -> Any:
    """Return an event with other data; one whose data is no object stays as it is, and is refused."""
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        return event
    kept = {name: value for name, value in event["data"].items() if name != without}
    return {**event, "data": {**kept, **data}}


def _value(sent: Any) -> Decimal:
    plain = isinstance(sent, int | Decimal) and not isinstance(sent, bool)
    if not plain and not (isinstance(sent, str) and NUMBER.fullmatch(sent.strip())):
        raise EventRefused("data.quantity: must be a number, which this meter reads")
    value = Decimal(sent.strip() if isinstance(sent, str) else sent)
    if not value:
        return Decimal(0)
    if value < 0:
        raise EventRefused("data.quantity: a reading is not below 0")
    if reason := count_refusal(value, timed=False):
        raise EventRefused(f"data.quantity: {reason}")
    return +value
