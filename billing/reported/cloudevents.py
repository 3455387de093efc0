"""CloudEvents 1.0 in JSON as reported usage: requirements, and why one is refused. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from billing.rating.quantity import LARGEST_COUNT, count_refusal
from billing.rating.tags import DIMENSION, PREFIX
from tenants.errors import Invalid
from tenants.parsing import MOST_DEPTH, holds_nul, parse_moment, storable, too_deep

SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
LONGEST = {"id": 200, "source": 120, "type": 120, "subject": 200}
LONGEST_VALUE, LONGEST_NAME = 200, 64
MOST_DIMENSIONS = 20
OWN = ("quantity", "project", "hold")
#: Attributes that events of a sender share, and how much text they have together at most to be remembered.
SHARED, PLAIN_TYPE, MOST_SHARED = (
    {"specversion", "source", "type", "project", "datacontenttype"},
    "application/json",
    5_000,
)
JSON_TYPE = re.compile(r"application/([a-z0-9.+-]+\+)?json\s*(;.*)?", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)


#: The types of values that are text.
TEXTS = frozenset({str})
_json = json.encoder.encode_basestring_ascii


class EventRefused(Exception):
    """One event cannot be usage; the message says why."""


class Incoming(NamedTuple):
    """One parsed event. `at` is None without a time; `project` and `hold` are empty without one.

    `around`: the texts of its canonical content before and after what events of a kind differ in.
    """

    id: str
    subject: str
    at: datetime | None
    quantity: Decimal
    source: str
    type: str
    dims: Mapping[str, str]
    project: str
    hold: str
    around: tuple[str, str]

    @property
    def content(self) -> str:
        """Return the canonical content: the same id with another content is a conflict."""
        at = self.at.isoformat() if self.at else ""
        before, after = self.around
        return f'{before}{_json(self.subject)}, "{at}", "{self.quantity.normalize():f}"{after}'


def parse(event: Any) -> Incoming:
    """Parse one event. Raises EventRefused with the reason."""
    return _like_others(event) or _parse(event)


def _like_others(event: Any) -> Incoming | None:
    """Return an event that holds nothing but texts and a whole number; None for any other.

    Most events of a sender differ in id, subject, time and quantity alone: the rest is parsed once.
    """
    if type(event) is not dict or type(data := event.get("data")) is not dict:
        return None
    rest, dims = {**event}, {**data}
    del rest["data"]
    id, subject, time = rest.pop("id", None), rest.pop("subject", None), rest.pop("time", None)
    quantity = dims.pop("quantity", None)
    if not (type(id) is type(subject) is str and type(quantity) is int and 0 < quantity <= LARGEST_COUNT):
        return None
    if not (TEXTS.issuperset(map(type, rest.values())) and TEXTS.issuperset(map(type, dims.values()))):
        return None
    if not (id.strip() and len(id) <= LONGEST["id"] and subject.strip() and len(subject) <= LONGEST["subject"]):
        return None
    if not storable(id + subject):
        return None
    try:
        shared = _shared(tuple(rest.items()), tuple(dims.items()))
        return Incoming(id, subject, _time(time), Decimal(quantity), *shared)
    except EventRefused:
        return None  # parsed as a whole, its faults have their usual order


@lru_cache(maxsize=4096)
def _shared(attributes: tuple[tuple[str, str], ...], data: tuple[tuple[str, str], ...]) -> tuple[Any, ...]:
    """Return what an event with these texts has from its source on. Raises EventRefused, also for what is not to be remembered."""
    rest = dict(attributes)
    texts = [text for pair in attributes + data for text in pair]
    if not rest.keys() <= SHARED or sum(map(len, texts)) > MOST_SHARED:
        raise EventRefused("it is parsed as a whole")
    return _parse({**rest, "id": "-", "subject": "-", "data": {**dict(data), "quantity": 1}})[4:]


def _parse(event: Any) -> Incoming:
    if not isinstance(event, dict):
        raise EventRefused("an event is a JSON object")
    if not _is_plain(event):
        if too_deep(event):
            raise EventRefused(f"lists and objects lie in each other more than {MOST_DEPTH} deep")
        if holds_nul(event):
            raise EventRefused("the character NUL and half surrogates cannot be stored")
    if event.get("specversion") != "1.0":
        raise EventRefused('specversion: must be "1.0"')
    texts = {name: _text(event, name) for name in LONGEST}
    if "data_base64" in event:
        raise EventRefused("data_base64: send JSON in `data`")
    kind = event.get("datacontenttype")
    if kind is not None and not (isinstance(kind, str) and JSON_TYPE.fullmatch(kind)):
        raise EventRefused("datacontenttype: must be application/json")
    data = event.get("data")
    if not isinstance(data, dict):
        raise EventRefused("data: must be an object with `quantity`")
    project = event.get("project", data.get("project", ""))
    if not isinstance(project, str) or len(project) > 64:
        raise EventRefused("project: give the short name or the id of a project")
    hold = data.get("hold")
    if hold is not None and not (isinstance(hold, str) and 0 < len(hold) <= 64):
        raise EventRefused("data.hold: give the id of a hold")
    at, quantity = _time(event.get("time")), _quantity(data.get("quantity"))
    dims = dimensions({name: value for name, value in data.items() if name not in OWN})
    # As JSON, written by hand in a third of the time. What is stored once is compared for ever.
    listed = ", ".join([f"[{_json(name)}, {_json(value)}]" for name, value in sorted(dims.items())])
    paying = f", {_json(hold)}" if hold else ""
    around = f"[{_json(texts['type'])}, ", f", [{listed}], {_json(project)}{paying}]"
    return Incoming(**texts, at=at, quantity=quantity, dims=dims, project=project, hold=hold or "", around=around)


def _is_plain(event: dict[str, Any]) -> bool:
    """Return whether an event holds nothing but `data` inside, as most do, and only text that can be stored."""
    texts: list[str] = []
    for one in (event, event.get("data")):
        if not isinstance(one, dict):
            return False
        texts += one
        for name, value in one.items():
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, dict | list) and not (one is event and name == "data"):
                return False
    return storable("".join(texts))


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value.strip():
        raise EventRefused(f"{name}: must be a text that is not empty")
    if len(value) > LONGEST[name]:
        raise EventRefused(f"{name}: is longer than {LONGEST[name]} characters")
    return value


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_moment(value, "time") if isinstance(value, str) and len(value) <= 64 else _no_time()
    except Invalid:
        return _no_time()


def _no_time() -> datetime:
    raise EventRefused("time: must be an RFC 3339 time with its offset, such as 2026-11-01T00:00:00Z")


def _quantity(value: Any) -> Decimal:
    if type(value) is int and 0 < value <= LARGEST_COUNT:
        return Decimal(value)
    plain = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if plain or (isinstance(value, str) and NUMBER.fullmatch(value.strip())):
        quantity = Decimal(value.strip() if isinstance(value, str) else value)
        # Before any arithmetic: a few characters of exponent can require a million digits.
        if reason := count_refusal(quantity, timed=False):
            raise EventRefused(f"data.quantity: {reason}")
        # It has at most nineteen significant digits; a million zeros behind them must not reach the database.
        return +quantity
    raise EventRefused("data.quantity: must be a number")


@lru_cache(maxsize=4096)  # senders use few, and the same in each event
def _is_dimension(name: str) -> bool:
    return DIMENSION.fullmatch(name.removeprefix(PREFIX)) is not None


def dimensions(values: Mapping[str, Any]) -> dict[str, str]:
    """Return dimensions as texts, without empty ones. Raises EventRefused."""
    dims = {}
    for name, value in values.items():
        if value is None:
            continue
        if len(name) > LONGEST_NAME or not _is_dimension(name):
            raise EventRefused(f"data: “{name[:60]}” is not a dimension name (letters, digits, _ . -, at most 60)")
        text = (
            value
            if isinstance(value, str)
            else str(value)
            if isinstance(value, Decimal)
            else json.dumps(value, default=str)
        )
        if len(text) > LONGEST_VALUE:
            raise EventRefused(f"data.{name}: is longer than {LONGEST_VALUE} characters")
        dims[name] = text
    if len(dims) > MOST_DIMENSIONS:
        raise EventRefused(f"data: has more than {MOST_DIMENSIONS} dimensions")
    return dims
