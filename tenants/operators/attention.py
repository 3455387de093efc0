"""What needs an operator's attention: looks that wait, tenants that do not work, erasures that go on. Upper apps add theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django.db.models import Count

from tenants.clock import now
from tenants.isolation.scoping import all_tenants
from tenants.models import Tenant
from tenants.operators.answers.queries import waiting
from tenants.operators.glass import queries
from tenants.operators.operator import Operator

#: Counted up to this number; the page then shows that there are more.
MOST = 100


@dataclass(frozen=True, kw_only=True)
class Matter:
    """A matter with its number, and the route of the page on which it is dealt with."""

    text: str
    number: int
    page: str
    level: Literal["bad", "wait", "idle"] = "wait"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure of the whole platform for the home page, with its note and the route of the page that has it in full."""

    title: str
    value: str
    note: str
    icon: str
    page: str


Source = Callable[[], list[Matter]]
_sources: list[tuple[str, Source]] = []
_counts: dict[str, Callable[[], int]] = {}
_tiles: list[tuple[str, Callable[[], Tile]]] = []


def register(permission: str, source: Source) -> None:
    """Add an app's matters, for operators with a permission; each source is one bounded statement."""
    _sources.append((permission, source))


def register_count(page: str, source: Callable[[], int]) -> None:
    """Show a number beside the area of a page while it is not zero; each source is one bounded statement."""
    _counts[page] = source


def count_of(page: str) -> int:
    """Return the number beside an area, 0 where none is shown."""
    return _counts[page]() if page in _counts else 0


def register_tile(permission: str, source: Callable[[], Tile]) -> None:
    """Add an app's figure, for operators with a permission; each source is a few bounded statements."""
    _tiles.append((permission, source))


def tiles(operator: Operator) -> list[Tile]:
    """Return the figures of other apps that an operator may see."""
    return [source() for permission, source in _tiles if operator.can(permission)]


def matters(operator: Operator) -> list[Matter]:
    """Return what needs attention: those of a number above zero, the bad ones first."""
    found = [*_looks(), *_requests(), *_standings()]
    for permission, source in _sources:
        found += source() if operator.can(permission) else []
    order = ("bad", "wait", "idle")
    return sorted((one for one in found if one.number), key=lambda one: order.index(one.level))


def _looks() -> list[Matter]:
    with all_tenants("looks of every tenant wait for an answer"):
        ends = list(queries.live(now()).values_list("ends_at", flat=True)[:MOST])
    waiting = sum(one is None for one in ends)
    return [
        Matter(text="Looks inside that wait for a second operator", number=waiting, page="operator-looks", level="bad"),
        Matter(text="Looks inside that are open", number=len(ends) - waiting, page="operator-looks"),
    ]


def _requests() -> list[Matter]:
    return [Matter(text="Requests that wait for an answer", number=waiting(MOST), page="operator-approvals")]


def _standings() -> list[Matter]:
    rows = Tenant.objects.exclude(standing="active").values_list("standing").annotate(number=Count("id"))
    counts = dict(rows)
    erasing = Tenant.objects.filter(erase_ordered_at__isnull=False, erased_at=None)[:MOST].count()
    return [
        Matter(text="Organisations that close", number=counts.get("closing", 0), page="operator-tenants"),
        Matter(text="Suspended organisations", number=counts.get("suspended", 0), page="operator-tenants"),
        Matter(text="Erasures that are not finished", number=erasing, page="operator-tenants"),
        Matter(text="Closed organisations", number=counts.get("closed", 0), page="operator-tenants", level="idle"),
    ]
