"""The routes of the API and what their functions share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.stripe.events import Events
from tests.fakes.stripe.forms import check
from tests.fakes.stripe.store import Object, Store


@dataclass
class Service:
    """The stand-in's state. `address` is its own URL."""

    store: Store
    events: Events
    address: str = ""


@dataclass(frozen=True)
class Request:
    """A request whose parameters are checked. `ids` are those of the path; `answer` is the service."""

    service: Service
    path: str
    ids: tuple[str, ...]
    params: Object

    @property
    def store(self) -> Store:
        """Return the objects."""
        return self.service.store


Handler = Callable[[Request], Object]


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    params: str
    handler: Handler


_ROUTES: list[_Route] = []


def route(method: str, path: str, params: str) -> Callable[[Handler], Handler]:
    """Register a function for a path; `params` names the library's class of its parameters."""

    def register(handler: Handler) -> Handler:
        pattern = re.compile("/v1" + re.sub(r"{\w+}", r"([^/]+)", path))
        _ROUTES.append(_Route(method, pattern, params, handler))
        return handler

    return register


def find(method: str, path: str) -> tuple[_Route, tuple[str, ...]] | None:
    """Return the route of a request with the ids in its path; None if there is none."""
    for one in _ROUTES:
        if one.method == method and (match := one.pattern.fullmatch(path)):
            return one, match.groups()
    return None


def run(service: Service, found: tuple[_Route, tuple[str, ...]], path: str, given: Object) -> Object:
    """Return the answer of a route. Raises `Refusal`."""
    one, ids = found
    expand = given.pop("expand", [])
    params = check(given, one.params)
    with service.store.lock:
        answer = one.handler(Request(service, path, ids, params))
        if answer["object"] in ("list", "search_result"):
            expand = list(expand)
        return service.store.expanded(answer, expand)


def update_metadata(one: Object, params: Object) -> None:
    """Merge metadata; an empty value removes a key."""
    if "metadata" in params:
        given: dict[str, Any] = params["metadata"] or {}
        one["metadata"] = {name: value for name, value in {**one["metadata"], **given}.items() if value != ""}
