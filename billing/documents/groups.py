"""The table of an invoice: its lines by project, adjustments by kind, and sums of them where there are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from billing.documents import wording
from billing.documents.sheet import Group, Row
from billing.documents.wording import money, plain
from billing.money import Money
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine

MOST_ROWS = 1_000
"""Rows of a table: about fifty pages, a third of a second and 110 MB. An invoice with more lines shows sums of them."""

ALL_PROJECTS = "All projects"


@dataclass
class _Sum:
    """Lines shown as one row."""

    first: InvoiceLine
    lines: list[InvoiceLine] = field(default_factory=list)

    def same(self, name: str) -> Any:
        """Return what all of its lines have under a name; None if they differ."""
        values = {getattr(line, name) for line in self.lines}
        return values.pop() if len(values) == 1 else None


#: What the lines of one row share, the finest first; the last gives few rows of any invoice.
SUMMED: Sequence[Callable[[InvoiceLine], tuple[Any, ...]]] = (
    lambda line: (line.kind, line.project_id, line.meter, line.unit, line.origin, line.outside),
    lambda line: (line.kind, line.project_id, line.meter, line.unit),
    lambda line: (line.kind, line.project_id),
    lambda line: (line.kind,),
)


def grouped(lines: Sequence[InvoiceLine], currency: str, *, projects_by_id: bool) -> tuple[list[Group], str]:
    """Return usage by project, projects by name, then adjustments by kind; and a remark if rows are sums of lines."""
    sums, remark = _summed(lines)
    usage: dict[tuple[str, str], list[_Sum]] = {}
    adjustments: dict[str, list[_Sum]] = {}
    for one in sums:
        if one.first.kind in (USAGE, CORRECTION):
            name = _project(one, projects_by_id)
            usage.setdefault((name.casefold(), name), []).append(one)
        else:
            adjustments.setdefault(one.first.kind, []).append(one)
    groups = [_group(name, rows, [_usage(one) for one in rows], currency) for (_, name), rows in sorted(usage.items())]
    groups += [
        _group(_kind(kind), rows, [_adjustment(one, projects_by_id) for one in rows], currency)
        for kind, rows in adjustments.items()
    ]
    return groups, remark


def _summed(lines: Sequence[InvoiceLine]) -> tuple[list[_Sum], str]:
    if len(lines) <= MOST_ROWS:
        return [_Sum(line, [line]) for line in lines], ""
    found: dict[tuple[Any, ...], _Sum] = {}
    for key in SUMMED:
        found = {}
        for line in lines:
            found.setdefault(key(line), _Sum(line)).lines.append(line)
        if len(found) <= MOST_ROWS:
            break
    return [
        *found.values()
    ], f"This invoice has {len(lines):,} lines. The rows above sum them; its CSV lists each of them."


def _project(one: _Sum, by_id: bool) -> str:
    project = one.same("project_id")
    if project is None:
        return ALL_PROJECTS
    return f"Project {project}" if by_id else plain(one.first.project_name) or ALL_PROJECTS


def _kind(kind: str) -> str:
    return plain(kind.replace("_", " ").capitalize())


def _group(name: str, sums: Sequence[_Sum], rows: Sequence[Row], currency: str) -> Group:
    total = _total((line.amount for one in sums for line in one.lines), currency)
    return Group(name=name, rows=rows, sum=money(total), sum_name=f"{name}, total")


def _usage(one: _Sum) -> Row:
    first, unit = one.first, one.same("unit")
    used = wording.quantity(sum((line.used for line in one.lines), Decimal(0)), unit) if unit else [""]
    price = [wording.price(first.unit_price)] if len(one.lines) == 1 and first.price_id else [""]
    price = ["no price"] if one.same("unpriced") else price
    title = plain(one.same("meter_title") or one.same("meter") or _kind(first.kind))
    return Row(title=title, detail=_detail(one), cells=[used, price, [_amount(one)]])


def _detail(one: _Sum) -> str:
    line, origins = one.first, {line.origin for line in one.lines}
    parts = [f"Correction of {wording.month(origin)}" for origin in origins if origin and len(origins) == 1]
    parts += ["Corrections of several months"] if len(origins) > 1 else []
    parts += ["reported from outside"] if one.same("outside") else []
    parts += [counts] if (counts := one.same("counts")) else []
    if len(one.lines) > 1:
        return " · ".join([*parts, f"{len(one.lines):,} lines"])
    parts += [wording.pair(*pair) for pair in sorted(line.dims.items())]
    parts += [f"price version {line.version_number}"] if line.version_number else []
    parts += [wording.rate(line.rate, line.amount.currency)] if line.rate else []
    return plain(" · ".join(parts), 600)


def _adjustment(one: _Sum, by_id: bool) -> Row:
    """Return the row of what the terms of the contract add or take off, and from what."""
    line, details = one.first, one.first.details
    parts = [name for name in (_project(one, by_id),) if one.same("project_id")]
    if title := one.same("meter_title") or one.same("meter"):
        parts.append(plain(title))
    if len(one.lines) > 1:
        parts.append(f"{len(one.lines):,} lines")
        return Row(title=_kind(line.kind), detail=" · ".join(parts), cells=[[""], [""], [_amount(one)]])
    percent = [wording.percent(Decimal(details["percent"]))] if "percent" in details else []
    base = [money(Money(Decimal(details["base"]), line.amount.currency))] if "base" in details else []
    if percent or base:
        parts.append(" of ".join(percent + base) if percent else f"from {base[0]}")
    parts += [f"Correction of {wording.month(line.origin)}"] if line.origin else []
    title = f"{_kind(line.kind)}: {plain(line.term)}" if line.term else _kind(line.kind)
    quantity = [wording.number(line.quantity)] if line.quantity else [""]
    price = [wording.price(line.unit_price)] if line.unit_amount else [""]
    return Row(title=title, detail=plain(" · ".join(parts), 600), cells=[quantity, price, [_amount(one)]])


def _amount(one: _Sum) -> str:
    return money(_total((line.amount for line in one.lines), one.first.amount.currency))


def _total(amounts: Iterable[Money], currency: str) -> Money:
    return sum(amounts, Money.zero(currency))
