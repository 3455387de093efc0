"""Which columns an export has, and how a charge fills them: FOCUS 1.2, FOCUS 1.4, and a plain table. Pure.

FOCUS 1.4 renames two columns of 1.2 and adds the id of the invoice's line, which its data set Invoice Detail lists. Own columns start with `x_`, as both versions demand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.exports.charge import Charge

Read = Callable[[Charge], Any]
SERVICE = "Exchequer"
INVOICE_DETAIL = "invoice-detail"
"""FOCUS 1.4's data set of the lines of issued invoices and credit notes."""


class Kind(StrEnum):
    """What a column holds; Parquet stores each in its own type."""

    TEXT = "text"
    NUMBER = "number"
    PRICE = "price"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, what it holds, and how it is read off a charge; None is an empty cell."""

    name: str
    kind: Kind
    read: Read


def _text(name: str, read: Read) -> Column:
    return Column(name, Kind.TEXT, lambda charge: read(charge) or None)


def _number(name: str, read: Read) -> Column:
    return Column(name, Kind.NUMBER, lambda charge: number(read(charge)))


def _price(name: str, read: Read) -> Column:
    """Return a column with the digits of a price times an exchange rate: more than an amount has."""
    return Column(name, Kind.PRICE, lambda charge: number(read(charge)))


def _time(name: str, read: Read) -> Column:
    return Column(name, Kind.TIME, lambda charge: moment(read(charge)))


def _moment(name: str, read: Read) -> Column:
    return Column(name, Kind.TIME, lambda charge: moment(found) if (found := read(charge)) else None)


def _json(name: str, read: Read) -> Column:
    return Column(
        name, Kind.TEXT, lambda charge: json.dumps(dict(found), sort_keys=True) if (found := read(charge)) else None
    )


def _sku(name: str) -> Read:
    return lambda charge: getattr(charge.sku, name) if charge.sku else None


def _committed(name: str) -> Read:
    return lambda charge: getattr(charge.committed, name) if charge.committed else None


def _of_quantity(name: str) -> Read:
    """Return a reader for what only stands beside a quantity."""
    return lambda charge: getattr(charge.sku, name) if charge.sku and charge.quantity is not None else None


def _priced(name: str) -> Read:
    """Return a reader for a price as its book states it, beside a quantity."""
    return lambda charge: (
        getattr(charge.priced or charge.sku, name) if charge.sku and charge.quantity is not None else None
    )


def number(value: Decimal | None) -> str | None:
    """Return a number in plain digits, always with a decimal point: a column of whole numbers is no decimal to readers."""
    if value is None:
        return None
    text = format(value.normalize() if value else Decimal(0), "f")
    return text if "." in text else f"{text}.0"


def moment(value: datetime) -> str:
    """Return a time in UTC, to the second, as FOCUS writes it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def focus(*, provider: str, publisher: str) -> list[Column]:
    """Return the columns that both versions of FOCUS have; two of them are named differently."""
    return [
        _number("BilledCost", lambda c: c.billed),
        _text("BillingAccountId", lambda c: c.heading.account_id),
        _text("BillingAccountName", lambda c: c.heading.account_name),
        _text("BillingCurrency", lambda c: c.heading.currency),
        _time("BillingPeriodEnd", lambda c: c.heading.ends_at),
        _time("BillingPeriodStart", lambda c: c.heading.starts_at),
        _text("ChargeCategory", lambda c: c.category.value),
        _text("ChargeClass", lambda c: "Correction" if c.correction else None),
        _text("ChargeDescription", lambda c: c.description),
        _text("ChargeFrequency", lambda c: c.frequency),
        _time("ChargePeriodEnd", lambda c: c.ends_at),
        _time("ChargePeriodStart", lambda c: c.starts_at),
        _text("CommitmentDiscountCategory", lambda c: "Spend" if c.committed else None),
        _text("CommitmentDiscountId", _committed("id")),
        _text("CommitmentDiscountName", _committed("name")),
        _number("CommitmentDiscountQuantity", _committed("quantity")),
        _text("CommitmentDiscountStatus", _committed("status")),
        _text("CommitmentDiscountType", _committed("kind")),
        _text(
            "CommitmentDiscountUnit",
            lambda c: c.heading.currency if c.committed and c.committed.quantity is not None else None,
        ),
        _number("ConsumedQuantity", lambda c: c.consumed),
        _text("ConsumedUnit", lambda c: c.sku.unit if c.sku and c.consumed is not None else None),
        _number("ContractedCost", lambda c: c.contracted),
        _price("ContractedUnitPrice", _of_quantity("unit_price")),
        _number("EffectiveCost", lambda c: c.effective),
        _text("InvoiceId", lambda c: c.heading.number),
        _text("InvoiceIssuerName", lambda c: c.heading.issuer),
        _number("ListCost", lambda c: c.listed),
        _price("ListUnitPrice", _of_quantity("list_price")),
        _text("PricingCategory", lambda c: c.pricing_category),
        _text("PricingCurrency", lambda c: c.priced.currency if c.priced else c.heading.currency),
        _price("PricingCurrencyContractedUnitPrice", _priced("unit_price")),
        _number("PricingCurrencyEffectiveCost", lambda c: c.priced_effective),
        _price("PricingCurrencyListUnitPrice", _priced("list_price")),
        _number("PricingQuantity", lambda c: c.quantity),
        _text("PricingUnit", _of_quantity("unit")),
        _text(provider, lambda c: c.heading.issuer),
        _text(publisher, lambda c: c.heading.issuer),
        _text("ResourceId", lambda c: c.resource),
        _text("ResourceName", lambda c: c.resource_name),
        _text("ResourceType", lambda c: c.resource_type),
        _text("ServiceCategory", lambda c: "AI and Machine Learning"),
        _text("ServiceName", lambda c: SERVICE),
        _text("ServiceSubcategory", lambda c: "AI Platforms"),
        _text("SkuId", _sku("key")),
        _text("SkuMeter", _sku("meter")),
        _json("SkuPriceDetails", _sku("details")),
        _text("SkuPriceId", _sku("price_id")),
        _text("SubAccountId", lambda c: c.project_id),
        _text("SubAccountName", lambda c: c.project_name or c.project_id),
        _text("SubAccountType", lambda c: "Project" if c.project_id else None),
        _json("Tags", lambda c: c.tags),
    ]


def _project(charge: Charge) -> dict[str, str]:
    return {"SubAccountId": charge.project_id} if charge.project_id else {}


OWN = (
    _text("x_JobId", lambda c: c.job_id),
    _text("x_LineId", lambda c: c.line_id),
    _text("x_LineKind", lambda c: c.kind),
)
PLAIN = (
    _text("organisation", lambda c: c.heading.account_name),
    _text("invoice", lambda c: c.heading.number),
    _time("period_starts_at", lambda c: c.heading.starts_at),
    _time("starts_at", lambda c: c.starts_at),
    _time("ends_at", lambda c: c.ends_at),
    _text("kind", lambda c: c.kind),
    _text("correction", lambda c: "yes" if c.correction else "no"),
    _text("project_id", lambda c: c.project_id),
    _text("project", lambda c: c.project_name),
    _text("resource", lambda c: c.resource),
    _text("resource_name", lambda c: c.resource_name),
    _text("job_id", lambda c: c.job_id),
    _text("meter", _sku("meter")),
    _text("price_id", _sku("price_id")),
    _text("unit", _sku("unit")),
    _number("measured", lambda c: c.consumed),
    _number("quantity", lambda c: c.quantity),
    _price("unit_amount", _priced("unit_price")),
    _text("price_currency", lambda c: c.priced.currency if c.priced else c.heading.currency),
    _number("rate", lambda c: c.priced.rate if c.priced else None),
    _moment("rate_valid_from", lambda c: c.priced.rate_valid_from if c.priced else None),
    _number("list_amount", lambda c: c.listed),
    _number("amount", lambda c: c.billed),
    _text("currency", lambda c: c.heading.currency),
    _json("tags", lambda c: c.tags),
    _text("description", lambda c: c.description),
    _text("line_id", lambda c: c.line_id),
)
PROFILES: dict[str, Sequence[Column]] = {
    "1.2": (*focus(provider="ProviderName", publisher="PublisherName"), *OWN),
    "1.4": (
        *focus(provider="ServiceProviderName", publisher="HostProviderName"),
        _text("InvoiceDetailId", lambda c: c.detail_id),
        *OWN,
    ),
    INVOICE_DETAIL: (
        _number("BilledCost", lambda c: c.billed),
        _text("BillingAccountId", lambda c: c.heading.account_id),
        _text("BillingCurrency", lambda c: c.heading.currency),
        _time("BillingPeriodEnd", lambda c: c.heading.ends_at),
        _time("BillingPeriodStart", lambda c: c.heading.starts_at),
        _text("ChargeCategory", lambda c: c.category.value),
        _moment("InvoiceDetailCreated", lambda c: c.heading.issued_at),
        _text("InvoiceDetailDescription", lambda c: c.description),
        _json("InvoiceDetailGrain", lambda c: {"x_LineId": c.line_id, "x_LineKind": c.kind} | _project(c)),
        _text("InvoiceDetailId", lambda c: c.detail_id),
        # What is issued never changes.
        _moment("InvoiceDetailLastUpdated", lambda c: c.heading.issued_at),
        _text("InvoiceId", lambda c: c.heading.number),
        _moment("InvoiceIssueDate", lambda c: c.heading.issued_at),
        _text("InvoiceIssueStatus", lambda c: "Issued"),
        _text("InvoiceIssuerName", lambda c: c.heading.issuer),
        _moment("PaymentDueDate", lambda c: c.heading.due_at),
        _text("PaymentTerms", lambda c: f"Net {c.heading.payment_days}"),
        _text("ReferenceInvoiceId", lambda c: c.heading.credits or c.heading.number),
    ),
    "plain": PLAIN,
}
"""Columns by what a request calls them."""
