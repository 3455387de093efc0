"""The CSV of an invoice: its lines, and on request every interval of usage in them, so that it recomputes to the total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from billing.documents.intervals import LineInterval, intervals_of
from billing.queries.invoices import InvoiceView
from billing.queries.lines import InvoiceLine

LINE = (
    "row",
    "line",
    "line_id",
    "kind",
    "origin",
    "project_id",
    "project",
    "meter",
    "title",
    "unit",
    "dimensions",
    "details",
    "outside",
    "price_version",
    "measured",
    "quantity",
    "unit_amount",
    "list_amount",
    "exact_amount",
    "amount",
    "tax_rate",
    "tax",
    "currency",
    "price_currency",
    "rate",
    "rate_valid_from",
)
INTERVAL = ("interval_id", "starts_at", "ends_at", "resource", "job_id", "attempt_id", "actor_id")


def header(*, intervals: bool) -> tuple[str, ...]:
    """Return the names of the columns."""
    return LINE + INTERVAL if intervals else LINE


def line_rows(lines: Sequence[InvoiceLine], *, projects_by_id: bool = False) -> Iterator[tuple[Any, ...]]:
    """Return a row for each line; `projects_by_id` leaves out the names of projects."""
    return (_line(line, projects_by_id=projects_by_id) for line in lines)


def interval_rows(tenant_id: UUID, view: InvoiceView, lines: Sequence[InvoiceLine]) -> Iterator[tuple[Any, ...]]:
    """Return a row for each line, followed by one for each of its intervals, read in portions as they are asked for."""
    nothing = ("",) * len(INTERVAL)
    for line in lines:
        yield *_line(line), *nothing
        for one in intervals_of(tenant_id, view, line):
            yield _interval(line, one)


def _line(line: InvoiceLine, *, projects_by_id: bool = False) -> tuple[Any, ...]:
    return (
        "line",
        line.n,
        line.id,
        line.kind,
        line.origin,
        line.project_id,
        "" if projects_by_id else line.project_name,
        line.meter,
        line.meter_title,
        line.unit,
        _pairs(line.dims),
        "" if line.rate else _pairs(line.details),
        "yes" if line.outside else "no",
        line.version_number,
        line.measured,
        line.quantity,
        line.unit_amount if line.price_id else "",
        line.list_exact.amount,
        line.exact.amount,
        line.amount.amount,
        line.tax_rate,
        line.tax.amount if line.tax else "",
        line.amount.currency,
        *_rate(line),
    )


def _interval(line: InvoiceLine, one: LineInterval) -> tuple[Any, ...]:
    """Return the row of an interval: rounding and tax are the line's alone."""
    unit_amount = line.unit_amount if line.price_id else ""
    return (
        "interval",
        line.n,
        line.id,
        one.kind,
        line.origin,
        line.project_id,
        line.project_name,
        line.meter,
        line.meter_title,
        line.unit,
        _pairs(line.dims),
        "",
        "yes" if line.outside else "no",
        line.version_number,
        one.measured,
        one.billable,
        unit_amount,
        one.amount + one.discount,
        one.amount,
        "",
        "",
        "",
        line.amount.currency,
        *_rate(line),
        f"{one.key_hash.hex()}-{one.part}",
        one.started_at,
        one.ended_at,
        one.resource,
        one.job_id,
        one.attempt_id,
        one.actor_id,
    )


def _rate(line: InvoiceLine) -> tuple[Any, ...]:
    """Return the currency of a line's price, and the exchange rate that converted it."""
    rate = line.rate
    if rate is None:
        return line.amount.currency if line.price_id else "", "", ""
    return rate.currency, rate.value, rate.valid_from


def _pairs(values: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
