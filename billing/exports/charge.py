"""A charge: one row of an export, before a profile says which columns it has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from billing.money import EXACT, computed

ROUNDING, TAX, UNUSED = "rounding", "tax", "unused"
APART = (ROUNDING, TAX, UNUSED)
"""Kinds of charges of a line that are not of its category."""


class Category(StrEnum):
    """What a charge is, in FOCUS's words."""

    USAGE = "Usage"
    PURCHASE = "Purchase"
    TAX = "Tax"
    CREDIT = "Credit"
    ADJUSTMENT = "Adjustment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What all charges of one document share: who owes whom, in which currency, for which billing period.

    `number` is that of the invoice or credit note; empty for a draft. `credits`: the number of the invoice that a credit note is on.
    """

    account_id: str
    account_name: str
    issuer: str
    currency: str
    starts_at: datetime
    ends_at: datetime
    number: str = ""
    credits: str = ""
    issued_at: datetime | None = None
    due_at: datetime | None = None
    payment_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sku:
    """What is sold, and at which price: `key` outlives the versions of a price book, `price_id` does not.

    Prices are in the currency of the document; `priced` holds them as the price book states them, if in another one.
    """

    key: str
    meter: str
    price_id: str
    unit: str
    unit_price: Decimal
    list_price: Decimal
    details: Mapping[str, str] = field(default_factory=dict)
    priced: Priced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A unit price and list price in the currency of a price book, and the exchange rate that converted them."""

    currency: str
    unit_price: Decimal
    list_price: Decimal
    rate: Decimal
    rate_valid_from: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The savings plan or commitment that a charge belongs to, as FOCUS describes commitment discounts.

    `quantity`: what a purchase commits, in the currency of the document. `status`: Used, Unused, or empty for what is neither.
    """

    id: str
    name: str
    kind: str
    quantity: Decimal | None = None
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An amount with what it is for. `billed` adds up to the document's total, `effective` to the same.

    `consumed` is what ran, `quantity` what is charged of it. `starts_at` and `ends_at` bound the use, which lies in another
    month than the heading's if it is a correction. `line_id` and `kind` are those of the invoice's line.
    """

    heading: Heading
    category: Category
    kind: str
    description: str
    starts_at: datetime
    ends_at: datetime
    billed: Decimal
    contracted: Decimal
    effective: Decimal
    listed: Decimal
    correction: bool = False
    consumed: Decimal | None = None
    quantity: Decimal | None = None
    sku: Sku | None = None
    resource: str = ""
    resource_name: str = ""
    project_id: str = ""
    project_name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    job_id: str = ""
    line_id: str = ""
    committed: Committed | None = None

    @property
    def detail_id(self) -> str:
        """The line of the document that this is a part of: a line has its usage, its rounding, its tax and what of it is unused apart.

        None of a draft has one.
        """
        if not self.heading.number:
            return ""
        parts = [self.heading.number] if self.heading.credits else []
        return ":".join([*parts, self.line_id, *([self.kind] if self.kind in APART else [])])

    @property
    def pricing_category(self) -> str | None:
        """How the price came about: spot capacity is priced apart. Tax, credits and adjustments have no price."""
        if self.category not in (Category.USAGE, Category.PURCHASE):
            return None
        return "Dynamic" if self.sku and self.sku.details.get("x_tier") == "spot" else "Standard"

    @property
    def priced(self) -> Priced | None:
        """The price in the price book's currency, if that is another than the document's."""
        return self.sku.priced if self.sku else None

    @property
    def priced_effective(self) -> Decimal:
        """The effective cost in the currency of the price."""
        if self.priced is None or self.quantity is None:
            return self.effective
        return computed(EXACT.multiply(self.quantity, self.priced.unit_price))

    @property
    def frequency(self) -> str:
        """How often such a charge occurs."""
        if self.category is Category.USAGE:
            return "Usage-Based"
        return "Recurring" if self.category is Category.PURCHASE and self.kind == "savings_plan" else "One-Time"

    @property
    def resource_type(self) -> str:
        """The kind of the resource, as `Job`; texts of reported usage need not name one."""
        if not self.resource:
            return ""
        prefix, separator, _ = self.resource.partition(":")
        return prefix.replace("_", " ").capitalize() if separator and prefix else "Resource"
