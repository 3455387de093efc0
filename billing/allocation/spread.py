"""An invoice's lines spread over what used them, so that the parts of each line add up to it to the minor unit. Pure.

A usage line is spread over its usage by the exact amounts. An adjustment of a project and meter follows the usage of these; one that
nothing used, such as a fee for the whole organisation, stays by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from billing.money import EXACT, Money
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine
from billing.rating.billed.lines import cumulative_parts, money_of

ZERO = Decimal(0)
#: The value of every dimension but project and meter for lines that no work caused, such as the shortfall of a commitment.
WHOLE_ORGANISATION = "(whole organisation)"
Keys = tuple[str | None, ...]
#: Exact amounts as whole numbers: they have twelve decimals.
DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Used:
    """Usage of a line under the same keys: what it comes to exactly, and how much it was."""

    line_id: UUID
    keys: Keys
    exact: Decimal
    quantity: Decimal
    predictions: Decimal = ZERO


@dataclass(slots=True)
class Cell:
    """What one combination of keys comes to; `quantities` are by unit and never add up, `lines` are those it has a part of."""

    cost: Money
    predictions: Decimal = ZERO
    quantities: dict[str, Decimal] = field(default_factory=dict)
    lines: set[int] = field(default_factory=set)


def spread(lines: Sequence[InvoiceLine], used: Iterable[Used], by: Sequence[str], currency: str) -> dict[Keys, Cell]:
    """Return a cell for each combination of keys; all costs add up to the sum of the lines."""
    cells: dict[Keys, Cell] = {}
    of_line: dict[UUID, list[Used]] = {}
    for one in used:
        of_line.setdefault(one.line_id, []).append(one)
    # What each line gave to which keys, for the adjustments that follow.
    given: list[tuple[InvoiceLine, Mapping[Keys, Money]]] = []
    for line in (line for line in lines if line.kind in (USAGE, CORRECTION)):
        parts = _parts(line, of_line.get(line.id, []), by)
        given.append((line, parts))
        for keys, part in parts.items():
            _add(cells, keys, line, part)
        for one in of_line.get(line.id, []):
            cell = _cell(cells, one.keys, currency)
            cell.predictions = EXACT.add(cell.predictions, one.predictions)
            cell.quantities[line.unit] = EXACT.add(cell.quantities.get(line.unit, ZERO), one.quantity)
    for line in (line for line in lines if line.kind not in (USAGE, CORRECTION)):
        for keys, part in _following(line, given, by).items():
            _add(cells, keys, line, part)
    return cells


def _parts(line: InvoiceLine, used: Sequence[Used], by: Sequence[str]) -> dict[Keys, Money]:
    """Return a usage line's amount by keys."""
    exact: dict[Keys, Decimal] = {}
    for one in used:
        exact[one.keys] = EXACT.add(exact.get(one.keys, ZERO), one.exact)
    if not exact:
        return {_own_keys(line, by): line.amount} if line.amount else {}
    keys = sorted(exact, key=_order)
    weights = [exact[each] for each in keys]
    return dict(zip(keys, split(line.amount, weights), strict=True))


def _following(
    line: InvoiceLine, given: Sequence[tuple[InvoiceLine, Mapping[Keys, Money]]], by: Sequence[str]
) -> dict[Keys, Money]:
    """Return an adjustment's amount by the keys of the usage that it adjusts."""
    weights: dict[Keys, int] = {}
    for usage, parts in given:
        if (
            line.project_id in (None, usage.project_id)
            and line.meter in ("", usage.meter)
            and (line.project_id or line.meter)
        ):
            for keys, part in parts.items():
                weights[keys] = weights.get(keys, 0) + part.minor
    positive = {keys: weight for keys, weight in weights.items() if weight > 0}
    if not positive:
        return {_own_keys(line, by): line.amount} if line.amount else {}
    places = sorted(positive, key=_order)
    return dict(zip(places, line.amount.allocate([positive[each] for each in places]), strict=True))


def split(amount: Money, weights: Sequence[Decimal]) -> list[Money]:
    """Distribute minor units by weight, exactly: by the largest remainder; weights of both signs by their running share."""
    if any(weights) and all(weight >= 0 for weight in weights):
        return amount.allocate(weights)
    whole = [int(weight.scaleb(DECIMALS, EXACT)) for weight in weights]
    return [money_of(part, amount.currency) for part in cumulative_parts(amount.minor, whole)]


def _own_keys(line: InvoiceLine, by: Sequence[str]) -> Keys:
    """Return what a line without usage says itself: its project and meter.

    A line of the whole organisation, such as a shortfall, is no work without a tag: it has a value of its own.
    """
    own = {"project": str(line.project_id) if line.project_id else None, "meter": line.meter or None}
    other = None if line.project_id or line.meter else WHOLE_ORGANISATION
    return tuple(own.get(name, other) for name in by)


def _add(cells: dict[Keys, Cell], keys: Keys, line: InvoiceLine, part: Money) -> None:
    cell = _cell(cells, keys, part.currency)
    cell.cost += part
    cell.lines.add(line.n)


def _cell(cells: dict[Keys, Cell], keys: Keys, currency: str) -> Cell:
    return cells.setdefault(keys, Cell(Money.zero(currency)))


def _order(keys: Keys) -> tuple[str, ...]:
    return tuple(key or "" for key in keys)
