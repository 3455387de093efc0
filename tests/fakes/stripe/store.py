"""The objects of the stand-in, its clock, lists with pages, search with its delay, and expansion."""

from __future__ import annotations

import copy
import itertools
import re
import secrets
import string
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.stripe.errors import bad, missing

Object = dict[str, Any]

PREFIXES = {
    "customer": "cus", "payment_method": "pm", "setup_intent": "seti", "invoiceitem": "ii", "invoice": "in",
    "line_item": "il", "invoice_payment": "inpay", "credit_note": "cn", "credit_note_line_item": "cnli",
    "refund": "re", "charge": "ch", "payment_intent": "pi", "checkout.session": "cs_test", "event": "evt",
}  # fmt: skip
LARGEST_PAGE = 100
CLAUSE = re.compile(r"""(metadata\['(?P<key>[^']+)'\]|(?P<field>\w+)):['"](?P<value>(?:\\.|[^'"\\])*)['"]""")


class Clock:
    """The stand-in's time: that of the host, or a fixed moment; both can be moved on."""

    def __init__(self, at: datetime | None = None) -> None:
        self._at = at.timestamp() if at else None
        self._offset = 0.0

    def now(self) -> int:
        """Return the time in seconds since the epoch."""
        return int((time.time() if self._at is None else self._at) + self._offset)

    def advance(self, by: timedelta) -> None:
        """Move the time on."""
        self._offset += by.total_seconds()

    def run_from(self, at: datetime) -> None:
        """Set the time, which then goes on with the host's, as the database's does."""
        self._at, self._offset = None, at.timestamp() - time.time()

    def move_to(self, at: datetime) -> None:
        """Set the time, which then stands still."""
        self._at, self._offset = at.timestamp(), 0.0


class Store:
    """All objects by kind and id, oldest first. Hold `lock` to change them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.search_delay_s = 0
        self.livemode = False
        self.computed: dict[tuple[str, str], Callable[[Object], Any]] = {}
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in PREFIXES}
        self._numbers = itertools.count(1)

    def new_id(self, kind: str) -> str:
        """Return an id in Stripe's form."""
        letters = string.ascii_letters + string.digits
        return f"{PREFIXES[kind]}_{next(self._numbers):06}{''.join(secrets.choice(letters) for _ in range(18))}"

    def add(self, one: Object) -> Object:
        """Keep a new object."""
        self._objects[one["object"]][one["id"]] = one
        return one

    def get(self, kind: str, object_id: str, param: str = "id") -> Object:
        """Return an object. Raises 404."""
        try:
            return self._objects[kind][object_id]
        except KeyError:
            raise missing(kind, object_id, param) from None

    def remove(self, kind: str, object_id: str) -> None:
        """Forget an object."""
        del self._objects[kind][object_id]

    def all(self, kind: str, **fields: Any) -> list[Object]:
        """Return the objects whose fields have these values, oldest first; None does not filter."""
        wanted = [(name, value) for name, value in fields.items() if value is not None]
        return [one for one in self._objects[kind].values() if all(one.get(name) == value for name, value in wanted)]

    def page(self, objects: Iterable[Object], params: Object, url: str) -> Object:
        """Return one page of a list, newest first, as `limit`, `starting_after` and `ending_before` say."""
        found = [one for one in reversed(list(objects)) if _created_in(one, params.get("created"))]
        limit = params.get("limit", 10)
        if not 1 <= limit <= LARGEST_PAGE:
            raise bad(f"Invalid limit: {limit}", "parameter_invalid_integer", "limit", saved=False)
        ids = [one["id"] for one in found]
        if after := params.get("starting_after"):
            found = found[_position(ids, after, "starting_after") + 1 :]
        elif before := params.get("ending_before"):
            rest = found[: _position(ids, before, "ending_before")]
            return {"object": "list", "url": url, "has_more": len(rest) > limit, "data": rest[-limit:]}
        return {"object": "list", "url": url, "has_more": len(found) > limit, "data": found[:limit]}

    def search(self, kind: str, params: Object, url: str) -> Object:
        """Return what a query finds among the objects that the index knows already."""
        clauses = _clauses(params["query"])
        until = self.clock.now() - self.search_delay_s
        found = [
            one
            for one in reversed(self.all(kind))
            if one["created"] <= until and all(_matches(one, *clause) for clause in clauses)
        ]
        start, limit = int(params.get("page") or 0), params.get("limit", 10)
        more = start + limit < len(found)
        return {
            "object": "search_result",
            "url": url,
            "has_more": more,
            "next_page": str(start + limit) if more else None,
            "data": found[start : start + limit],
        }

    def expanded(self, answer: Object, paths: Iterable[str]) -> Object:
        """Return a copy of an answer with ids replaced by objects where a path asks for it."""
        answer = copy.deepcopy(answer)
        for path in paths:
            for holder in [answer]:
                self._expand(holder, path.split("."), path)
        return answer

    def _expand(self, at: Any, names: list[str], path: str) -> None:
        if isinstance(at, list):
            for one in at:
                self._expand(one, names, path)
            return
        name, *rest = names
        compute = self.computed.get((at.get("object", ""), name))
        if compute and at.get(name) is None:
            at[name] = copy.deepcopy(compute(at))
        if name not in at:
            raise bad(f"This property cannot be expanded ({path}).", param="expand", saved=False)
        if isinstance(at[name], str):
            kind = next((kind for kind, prefix in PREFIXES.items() if at[name].startswith(f"{prefix}_")), None)
            if kind is None:
                raise bad(f"This property cannot be expanded ({path}).", param="expand", saved=False)
            at[name] = copy.deepcopy(self.get(kind, at[name]))
        if rest and at[name] is not None:
            self._expand(at[name], rest, path)


def _position(ids: list[str], one: str, param: str) -> int:
    if one not in ids:
        raise missing("object", one, param)
    return ids.index(one)


def _created_in(one: Object, given: Any) -> bool:
    if not isinstance(given, dict):
        return given is None or one["created"] == int(given)
    created, bounds = one["created"], {name: int(value) for name, value in given.items()}
    return (
        created > bounds.get("gt", -1)
        and created >= bounds.get("gte", 0)
        and created < bounds.get("lt", created + 1)
        and created <= bounds.get("lte", created)
    )


def _clauses(query: str) -> list[tuple[str | None, str | None, str]]:
    found = []
    for part in query.split(" AND "):
        match = CLAUSE.fullmatch(part.strip())
        if match is None:
            raise bad("We were unable to parse your search query.", param="query", saved=False)
        found.append((match["key"], match["field"], re.sub(r"\\(.)", r"\1", match["value"])))
    return found


def _matches(one: Object, key: str | None, field: str | None, value: str) -> bool:
    held = one["metadata"].get(key) if key else one.get(field or "")
    return held is not None and str(held).casefold() == value.casefold()
