"""The registry of what can be asked for, and what an approval does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q

from tenants.access.actor import Actor
from tenants.audit import erasure
from tenants.models import Approval

TENANT, OPERATORS = "tenant", "operators"


@dataclass(frozen=True, kw_only=True)
class ApprovalKind:
    """One kind of request.

    `permission`: what the approver needs, besides `approvals.answer`, in the whole tenant or in the request's project.
    `apply` runs the operation with the approver as its actor, in the transaction of the answer; `describe` says in a
    sentence what is wanted. `asks`: what the requester needs. `side`: who answers. Where operators do, `permission` is
    theirs; members who have it too read the request, unless it is `between_operators`: then an operator asks, too.
    `after`: what is entered in the operator log besides, with the operator who approved. `page`: where the console shows
    what it is about, below its root.
    """

    name: str
    title: str
    permission: str
    apply: Callable[[Actor, Approval], object]
    describe: Callable[[Mapping[str, Any], str], str]
    asks: str = "approvals.request"
    side: str = TENANT
    between_operators: bool = False
    after: Callable[[Any, Approval], None] | None = None
    page: Callable[[Mapping[str, Any]], str] | None = None


_kinds: dict[str, ApprovalKind] = {}


def register(kind: ApprovalKind) -> None:
    """Register a kind, once."""
    if kind.name in _kinds:
        raise ValueError(f"approvals of the kind {kind.name!r} are registered")
    _kinds[kind.name] = kind
    if kind.between_operators:
        erasure.of_operators("tenants_approval", Q(kind=kind.name))


def find(name: str) -> ApprovalKind | None:
    """Return a kind; None if no app has it any more."""
    return _kinds.get(name)


def raise_words(wanted: Mapping[str, Any]) -> str:
    """Return the figures of a raise: `from 4 to 6 until 2026-01-01 00:00 UTC`."""
    return f"from {wanted['from']} to {wanted['limit']}{until_words(wanted['until'])}"


def until_words(until: str | None) -> str:
    """Return the end of a sentence about something that ends at an ISO time: ` until 2026-01-01 00:00 UTC`, or nothing."""
    return f" until {datetime.fromisoformat(until).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if until else ""


def all_kinds(side: str = TENANT) -> list[ApprovalKind]:
    """Return every kind that a side answers."""
    return [kind for kind in _kinds.values() if kind.side == side]
