"""Representations of billing's responses: rows of queries as JSON."""

from __future__ import annotations

from typing import Any

from billing.money import Money, shown
from billing.queries import (
    AlertRow,
    BatchRow,
    BudgetStatus,
    HeldRow,
    IntervalView,
    InvoiceLine,
    InvoiceView,
    PriceBookView,
    ReportedEvent,
    Share,
    SpendRow,
    VersionView,
)
from billing.reported.sender_limits import Limits


def sum_row(row: SpendRow) -> dict[str, Any]:
    """Return a sum with one field for each of its groups."""
    named = {"project_name": row.project_name} if "project" in row.keys else {}
    return {
        **row.keys,
        **named,
        "start": row.starts.isoformat() if row.starts else None,
        "unit": row.unit or None,
        "quantity": None if row.quantity is None else shown(row.quantity),
        "measured": None if row.measured is None else shown(row.measured),
        "cost": row.cost.json(),
    }


def price_book(book: PriceBookView) -> dict[str, Any]:
    """Return a price book as JSON."""
    versions = [price_version(version) for version in book.versions]
    return {"id": book.id, "name": book.name, "currency": book.currency, "versions": versions}


def price_version(version: VersionView) -> dict[str, Any]:
    """Return a version with all its prices as JSON."""
    return {
        "id": version.id,
        "number": version.number,
        "state": version.state,
        "effective_at": version.effective_at,
        "published_at": version.published_at,
        "published_by": version.published_by,
        "note": version.note,
        "prices": [
            {"meter": price.meter, "dims": price.dims, "unit_amount": shown(price.unit_amount)}
            for price in version.prices
        ],
    }


def budget(status: BudgetStatus) -> dict[str, Any]:
    """Return a budget with its use as JSON."""
    return {
        "id": status.id,
        "scope": status.scope,
        "project_name": status.project_name if status.project_id else "",
        "amount": status.limit.json(),
        "period": "month",
        "alerts": list(status.alerts),
        "at_limit": status.at_limit,
        "month": status.period,
        "held": status.held.json(),
        "spent": status.spent.json(),
        "left": status.left.json(),
        "used_percent": status.used_percent,
        "forecast": status.forecast.json(),
        "state": status.state,
    }


def alert(row: AlertRow) -> dict[str, Any]:
    """Return a crossed threshold as JSON."""
    return {
        "id": row.id,
        "month": row.period,
        "percent": row.percent,
        "spent": row.spent.json(),
        "amount": row.limit.json(),
        "raised_at": row.raised_at,
    }


def invoice(view: InvoiceView) -> dict[str, Any]:
    """Return an invoice as JSON."""
    return {
        "id": view.id,
        "state": view.state,
        "period": view.period,
        "starts_at": view.starts_at,
        "ends_at": view.ends_at,
        "currency": view.currency,
        "lines": view.line_count,
        "total": view.total.json(),
        "exact": view.exact.json(),
    }


def line(row: InvoiceLine) -> dict[str, Any]:
    """Return a line with its price as JSON."""
    return {
        "n": row.n,
        "project": row.project_id,
        "project_name": row.project_name,
        "meter": row.meter,
        "title": row.meter_title,
        "unit": row.unit,
        "dims": row.dims,
        "price_version": row.version_id,
        "price_version_number": row.version_number,
        "price_effective_at": row.price_effective_at,
        "unit_amount": Money(row.unit_amount, row.amount.currency).json(),
        "measured": shown(row.measured),
        "quantity": shown(row.quantity),
        "intervals": row.intervals,
        "outside": row.outside,
        "exact": row.exact.json(),
        "amount": row.amount.json(),
    }


def share(row: Share) -> dict[str, Any]:
    """Return one attempt's share of a line as JSON."""
    return {
        "job": row.job_id,
        "attempt": row.attempt_id,
        "resource": row.resource,
        "measured": shown(row.measured),
        "quantity": shown(row.quantity),
        "intervals": row.intervals,
        "exact": row.exact.json(),
    }


def interval(row: IntervalView) -> dict[str, Any]:
    """Return one interval as JSON."""
    return {
        "id": row.id,
        "kind": row.kind,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "measured": shown(row.measured),
        "quantity": shown(row.billable),
        "excluded": shown(row.excluded),
        "exact": row.exact.json(),
        "resource": row.resource,
        "job": row.job_id,
        "attempt": row.attempt_id,
        "actor": row.actor,
        "source": row.source,
    }


def usage_batch(row: BatchRow) -> dict[str, Any]:
    """Return a request that reported usage as JSON."""
    names = ("id", "sender", "sender_kind", "sender_id", "received_at", "accepted", "held", "voided")
    return {**{name: getattr(row, name) for name in names}, "amount": row.amount.json()}


def reported_event(row: ReportedEvent) -> dict[str, Any]:
    """Return a counted event of a request as JSON."""
    names = ("source", "resource", "dims", "meter", "unit", "project_name", "starts_at", "ends_at", "voided")
    more = {"key": row.key.hex(), "quantity": shown(row.measured), "cost": row.cost.json()}
    return {**{name: getattr(row, name) for name in names}, **more}


def held_event(row: HeldRow) -> dict[str, Any]:
    """Return an event that waits for review as JSON."""
    names = ["id", "sender", "source", "meter", "resource", "project_name", "starts_at", "ends_at", "dims"]
    names += ["reason", "state", "received_at", "decided_at", "decided_by"]
    quantity = None if row.quantity is None else shown(row.quantity)
    more = {"batch": row.batch_id, "event_id": row.key, "quantity": quantity}
    return {**{name: getattr(row, name) for name in names}, **more}


def report_limits(limits: Limits) -> dict[str, Any]:
    """Return the limits of each sender as JSON."""
    return {"events": limits.events, "amount": limits.amount.json(), "own": limits.own}
