"""Store a group of requests of one key, in a thread with a database connection of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import local
from typing import Any, cast

import structlog
from django.db import Error, InterfaceError, OperationalError, close_old_connections, connection
from prometheus_client import Gauge, Histogram
from rest_framework.exceptions import APIException

from billing.api.events import events_in, read_json, response_for
from billing.reported.group_commit import together_or_apart
from billing.reported.ingest import MOST_EVENTS, Taken, ingest_together
from billing.usage_server.calls import Answer, Call, Origin, broken, refusal, rendered
from tenants.access.actor import Actor
from tenants.access.reader import reading_as
from tenants.audit import refusals
from tenants.errors import ExchequerError
from tenants.identity import authentication
from tenants.web import problems, rate_limits

log = structlog.get_logger(__name__)
PERMISSION, REQUEST = "usage.ingest", "POST /api/v1/events/"
CHALLENGE = authentication.ActorAuthentication().authenticate_header(cast(Any, None))
#: A connection that was idle so long is checked before it is used, in seconds.
IDLE_S = 1
#: For so long a key that was looked up may send large bodies, in seconds; and the most keys that are remembered.
KNOWN_S, MOST_KNOWN = 60, 10_000

groups = Histogram(
    "exchequer_usage_group_requests", "Requests stored by one transaction.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
waiting = Gauge("exchequer_usage_waiting_requests", "Requests that wait to be stored.")
_used = local()
Sent = tuple[Call, list[Any]]


class Storage:
    """Answers groups of requests, each group of one key and origin. Used by several threads."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def is_known(self, key: str) -> bool:
        """Return whether a key was good within the last minute. It opens nothing: each group looks its key up."""
        return time.monotonic() - self._known.get(key, -KNOWN_S) < KNOWN_S

    def store(self, calls: Sequence[Call]) -> list[Answer]:
        """Store requests of one key and origin; return the answers to all, once what is stored is durable."""
        first = calls[0]
        try:
            with structlog.contextvars.bound_contextvars(request_id=first.request_id):
                _check_connection()
                return self._answers(calls)
        except Exception as error:  # noqa: BLE001 (each caller gets an answer)
            note(error)
            return [failed(error, call.request_id) for call in calls]

    def check(self, key: str, origin: Origin, request_id: str) -> Answer | None:
        """Return the refusal of a key that may not send usage; None for one that may."""
        try:
            _check_connection()
            actor = self._enter(key, origin, request_id)
            if actor is None:
                return failed(unknown_key(), request_id)
            actor.require_somewhere(PERMISSION)
        except Exception as error:  # noqa: BLE001 (the caller gets an answer)
            note(error)
            return failed(error, request_id)
        return None

    def _enter(self, key: str, origin: Origin, request_id: str) -> Actor | None:
        told = {"ip": origin.ip, "user_agent": origin.user_agent, "request_id": request_id}
        entered = authentication.holder_of(key, told)
        if entered is None:
            self._known.pop(key, None)
            return None
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[key] = time.monotonic()
        return entered[0]

    def _answers(self, calls: Sequence[Call]) -> list[Answer]:
        actor = self._enter(calls[0].key, calls[0].origin, calls[0].request_id)
        if actor is None:
            return [failed(unknown_key(), call.request_id) for call in calls]
        with reading_as(actor), structlog.contextvars.bound_contextvars(tenant=str(actor.tenant_id)):
            found: dict[int, Answer] = {}
            good: list[Sent] = []
            missing: Exception | None = None
            for call in calls:
                try:
                    rate_limits.count_events("tenant", str(actor.tenant_id), rate_limits.PER_TENANT)
                    actor.require_somewhere(PERMISSION)
                    good.append((call, events_in(read_json(call.body), call.content_type)))
                except (ExchequerError, APIException) as error:
                    missing = error if problems.rights_missing(error) else missing
                    found[id(call)] = failed(error, call.request_id)
            for group in _fitting(good):
                groups.observe(len(group))
                leader = replace(actor, request_id=group[0][0].request_id)
                results = together_or_apart(ingest_together, leader, [events for _, events in group])
                for failure in {id(one): one for one in results if isinstance(one, Exception)}.values():
                    note(failure)
                    missing = failure if problems.rights_missing(failure) else missing
                for (call, _), one in zip(group, results, strict=True):
                    found[id(call)] = _answer(one, call.request_id)
            if missing is not None:
                _note_refusal(actor, missing)
            authentication.note_use(actor)
        return [found[id(call)] for call in calls]


def unknown_key() -> APIException:
    """Return the refusal of an unknown key, with the challenge of REST framework."""
    error = authentication.unknown_key()
    error.auth_header = CHALLENGE  # type: ignore[attr-defined]
    return error


def failed(error: Exception, request_id: str) -> Answer:
    """Return the answer to any error."""
    away = isinstance(error, OperationalError | InterfaceError)
    return refusal(error, request_id) or broken(request_id, 503 if away else 500)


def note(error: Exception) -> None:
    """Log an error that nobody expects; after one of the database, connect again."""
    if isinstance(error, ExchequerError | APIException):
        return
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("database.away", error=str(error))
    else:
        log.error("usage.request_failed", exc_info=error)
    if isinstance(error, Error):
        connection.close()


def _answer(result: Taken | Exception, request_id: str) -> Answer:
    return failed(result, request_id) if isinstance(result, Exception) else rendered(response_for(result))


def _fitting(sent: Sequence[Sent]) -> Iterator[list[Sent]]:
    """Yield requests in order, in groups of at most MOST_EVENTS events; each alone has no more."""
    group: list[Sent] = []
    events = 0
    for one in sent:
        if group and events + len(one[1]) > MOST_EVENTS:
            yield group
            group, events = [], 0
        group.append(one)
        events += len(one[1])
    if group:
        yield group


def _note_refusal(actor: Actor, error: Exception) -> None:
    """Record in the audit log that rights were missing."""
    try:
        if problems.rights_missing(error):
            refusals.note(actor, error, REQUEST)
    except (OperationalError, InterfaceError):
        log.warning("refusal.not_recorded", permission=PERMISSION)


def _check_connection() -> None:
    """Have Django check a connection that was idle, which may have ended meanwhile; busy ones cost no statement."""
    now = time.monotonic()
    if now - getattr(_used, "at", 0) > IDLE_S:
        close_old_connections()
    _used.at = now
