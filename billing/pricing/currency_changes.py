"""A contract in another currency: what changes when it begins, and what stands in its way.

Each local month has one currency. Usage, holds, budgets, ledger and invoices of a month are in it, so a month before the
change keeps the one before, late usage included. Budgets are restated by the exchange rate that the contract keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from billing.exchange.queries import rate_in_force
from billing.models import Contract, CreditBlock
from billing.money import Money, minor_decimals
from billing.rating.calendar import period_bounds
from tenants.currencies import currency_fault
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant

ACROSS = "SELECT billing_budgets_across(%s)"
# As `billing.budgets.counters.lock_budget_set`: no budget is made meanwhile that the change would cut in two.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('billing.budgets' || %s, 0))"


@dataclass(frozen=True, slots=True)
class CurrencyChange:
    """A tenant pays in `after` instead of `before` from `starts_on`; `rate`: what one unit of `before` is worth then.

    `credit`: what is left in the wallet, which pays invoices of earlier months alone. `obstacles`: why it is refused.
    """

    before: str
    after: str
    starts_on: date
    rate: Decimal | None
    credit: Money
    obstacles: Sequence[str] = ()

    @property
    def effects(self) -> list[str]:
        """What changes, as sentences."""
        of_credit = f"Credit of {self.credit.plain()} stays in the wallet: it pays invoices in {self.before} alone."
        return [
            f"Usage from {self.starts_on:%-d %B %Y} is rated, held and billed in {self.after}.",
            f"Usage before, late or not, stays in {self.before}, on invoices in {self.before}.",
            *(
                [f"Budgets are restated at {self.rate.normalize():f} {self.after} for one {self.before}."]
                if self.rate
                else []
            ),
            f"What runs on is held again, in {self.after} when it goes on, and is paused if a budget has no headroom for it.",
            f"Open quotes in {self.before} expire; requests for more in {self.before} can no longer be granted.",
            "Commitments, savings plans, minimums and discounts of the contract before end with it.",
            *([of_credit] if self.credit else []),
        ]


def preview(tenant: Tenant, currency: str, starts_on: date) -> CurrencyChange:
    """Return what a contract in another currency would change, and what stands in its way. Nothing is stored."""
    with tenant_scope(tenant.pk):
        return plan(tenant, currency_before(tenant, starts_on), currency, starts_on, {})


def currency_before(tenant: Tenant, starts_on: date) -> str:
    """Return the currency that a contract from this day on finds, of those that have begun, in the open scope."""
    begun = Contract.objects.filter(starts_on__lt=starts_on).order_by("-starts_on").first()
    return begun.currency if begun else tenant.currency


def plan(tenant: Tenant, before: str, after: str, starts_on: date, terms: Mapping[str, Any]) -> CurrencyChange:
    """Return what a change means for the tenant of the open scope. `terms`: those of the new contract's bills."""
    if fault := currency_fault(after) or (f"The organisation pays in {after} then." if after == before else None):
        return CurrencyChange(before, after, starts_on, None, Money.zero(before), [fault])
    rate = rate_in_force(before, after, period_bounds(starts_on, tenant.timezone)[0])
    left = CreditBlock.objects.filter(currency=before).aggregate(left=Sum("remaining"))["left"]
    return CurrencyChange(
        before,
        after,
        starts_on,
        rate.value if rate else None,
        Money(left or Decimal(0), before),
        list(_obstacles(tenant, before, after, starts_on, terms) if rate else [_no_rate(before, after, starts_on)]),
    )


def lock_budgets(tenant_id: UUID) -> None:
    """Lock a tenant's set of budgets to the end of the transaction, as it is locked to change it."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [str(tenant_id)])


def stored(change: CurrencyChange | None) -> dict[str, Any]:
    """Return the columns of a contract that changes the currency, if it does."""
    if change is None:
        return {}
    decimals = minor_decimals(change.after)
    return {"currency_before": change.before, "restating_rate": change.rate, "restating_decimals": decimals}


def _no_rate(before: str, after: str, starts_on: date) -> str:
    return (
        f"No exchange rate from {before} to {after} is in force on {starts_on:%-d %B %Y}, by which budgets are restated. "
        "Enter one first."
    )


def _obstacles(tenant: Tenant, before: str, after: str, starts_on: date, terms: Mapping[str, Any]) -> list[str]:
    found = []
    running = Contract.objects.filter(starts_on__lt=starts_on).order_by("-starts_on").first()
    if terms.get("prepaid") or (running and running.terms.get("prepaid")):
        found.append(
            f"Prepaid work is held from a wallet in one currency. Agree on a contract in {before} that is not prepaid first, and "
            "make a later one in the new currency prepaid."
        )
    if tenant.currency != before:
        found.append(f"Budgets are still being restated in {before}. Try again in a minute.")
    with connection.cursor() as cursor:
        cursor.execute(ACROSS, [starts_on])
        (across,) = cursor.fetchone()
    if across:
        number = "A budget by quarter or year runs" if across == 1 else f"{across} budgets by quarter or year run"
        found.append(
            f"{number} across {starts_on:%-d %B %Y}. Begin with January, with the first month of a quarter if they are by quarter, "
            "or have the organisation close them."
        )
    return found
