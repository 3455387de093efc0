"""Contracts: which book rates a tenant's usage, in which currency and on which terms, from month to month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from billing.exchange.queries import rate_in_force
from billing.models import Contract, PriceBook
from billing.pricing import currency_changes, prepaid
from billing.pricing.billing_details import BillingDetails, details_faults, lock_contracts
from billing.pricing.currency_changes import CurrencyChange
from billing.pricing.publishing import standard_book
from billing.rating.billed.faults import Fault, terms_faults
from billing.rating.billed.reading import read_terms
from billing.rating.calendar import local_day, next_period, period_bounds, period_of
from billing.rating.quantity import FUTURE_LIMIT
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.currencies import currency_fault
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import Tenant
from tenants.operators.first_contract import FirstContract
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

CONTRACT_OPENED = AuditAction("billing.contract.opened")
CONTRACT_AGREED = AuditAction("billing.contract.agreed")
CONTRACT_WITHDRAWN = AuditAction("billing.contract.withdrawn")
MOST_DAYS = 365
MOST_GRACE = 31


@dataclass(frozen=True, kw_only=True)
class ContractTerms(BillingDetails):
    """Terms of a contract beside its book. `tax_rate` is in percent; None: not agreed yet. `terms`: what adjusts a period's bill.

    `currency`: that of a contract that changes it; empty: that of the one before.
    """

    payment_days: int = 30
    tax_rate: Decimal | None = None
    grace_days: int = 0
    terms: Mapping[str, Any] = field(default_factory=dict)
    currency: str = ""


@operation(CONTRACT_OPENED)
def open_first(*, actor: Actor, book_id: UUID | None = None, terms: ContractTerms | None = None) -> None:
    """Open a tenant's first contract, from the running local month on: with the standard book unless another is chosen.

    Idempotent, safe in a race; for the roles that write contracts. Raises Invalid for a book whose prices cannot be converted.
    """
    lock_contracts(actor.tenant_id)
    if Contract.objects.exists():
        unchanged("the tenant has a contract")
        return
    tenant = Tenant.objects.get(pk=actor.tenant_id)
    terms = terms or ContractTerms(billing_name=tenant.name)
    _check(terms, tenant.currency)
    book = standard_book(tenant.currency) if book_id is None else _book(book_id, tenant.currency, clock.now())
    starts_on = period_of(local_day(clock.now(), tenant.timezone))
    made = _create(actor.label, (book, tenant.currency), starts_on, terms)
    prepaid.count_if_prepaid(made)
    record(CONTRACT_OPENED, actor=actor, target=made, changes=_changes(made, None))


def agree(
    *, operator: Operator, tenant_id: UUID, book_id: UUID, starts_on: date, terms: ContractTerms, reason: str
) -> Contract:
    """Agree on a tenant's next contract, which begins with a coming month and ends the one before it.

    It is in the currency of the one before unless the terms name another; the seller's exchange rates convert the prices of
    a book in another one. One that has not begun is replaced. Raises NotFound for an unknown tenant or book, Invalid for a
    start that is no month ahead, for impossible terms, for a book in another currency without an exchange rate that is in
    force at the start, and for a change of currency that something stands in the way of.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound
    actor = Actor.system(tenant_id, "operator")
    with transaction.atomic():
        made = _agree(actor=actor, tenant=tenant, book_id=book_id, starts_on=starts_on, terms=terms, reason=reason)
        label = f"{tenant.slug}: {made.book.name} from {starts_on}"
        record_act(operator, CONTRACT_AGREED, target=("tenant", tenant_id, label), reason=reason)
    return made


def withdraw(*, operator: Operator, tenant_id: UUID, reason: str) -> None:
    """Withdraw the contract that has not begun; the one before it goes on. Raises NotFound, Conflict without one."""
    operator.require("prices.manage")
    reason = check_reason(reason)
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound
    with transaction.atomic():
        _withdraw(actor=Actor.system(tenant_id, "operator"), tenant=tenant, reason=reason)
        record_act(operator, CONTRACT_WITHDRAWN, target=("tenant", tenant_id, tenant.slug), reason=reason)


def sign(actor: Actor, chosen: FirstContract) -> None:
    """Open the first contract of a tenant that an operator creates."""
    tenant = Tenant.objects.get(pk=actor.tenant_id)
    terms = ContractTerms(payment_days=chosen.payment_days, billing_name=tenant.name)
    open_first(actor=actor, book_id=chosen.book_id, terms=terms)


def months_ahead(tenant: Tenant, number: int = 12) -> list[date]:
    """Return the next local months that a contract may begin with."""
    # Usage is accepted a little ahead: a month that begins within that time has begun.
    month, months = period_of(local_day(clock.now() + FUTURE_LIMIT, tenant.timezone)), []
    for _ in range(number):
        month = next_period(month)
        months.append(month)
    return months


def bill_faults(given: object, currency: str) -> list[Fault]:
    """Return what is wrong with the terms of a bill as JSON; a fault of the whole names no place."""
    if not isinstance(given, Mapping):
        return [Fault("", 'Write an object, such as {"discounts": []}.')]
    try:
        terms = read_terms({"currency": currency, **given})
    except ValueError as wrong:
        return [Fault("", str(wrong))]
    if terms.currency != currency:
        return [Fault("", f"The contract is in {currency}: leave the currency out of its terms.")]
    if terms.hours is not None:
        return [Fault("", "Leave the hours out: they are those of each month.")]
    return terms_faults(terms)


@operation(CONTRACT_AGREED)
def _agree(
    *, actor: Actor, tenant: Tenant, book_id: UUID, starts_on: date, terms: ContractTerms, reason: str
) -> Contract:
    lock_contracts(tenant.id)
    Contract.objects.filter(starts_on__gte=months_ahead(tenant, 1)[0]).delete()
    paid_in = currency_changes.currency_before(tenant, starts_on)
    currency = terms.currency or paid_in
    if currency != paid_in and (fault := currency_fault(currency)):
        raise Invalid(fields={"currency": [fault]})
    _check(terms, currency)
    starts = period_bounds(starts_on, tenant.timezone)[0] if starts_on.day == 1 else None
    book = _book(book_id, currency, starts or clock.now())
    if starts is None or starts < clock.now() + FUTURE_LIMIT:
        raise Invalid(fields={"starts_on": ["A contract begins with a coming month."]})
    change = None
    if currency != paid_in:
        currency_changes.lock_budgets(tenant.id)
        change = currency_changes.plan(tenant, paid_in, currency, starts_on, terms.terms)
        if change.obstacles:
            raise Invalid(fields={"currency": list(change.obstacles)})
    before = Contract.objects.order_by("-starts_on").first()
    if before is not None and (before.ends_on is None or before.ends_on >= months_ahead(tenant, 1)[0]):
        Contract.objects.filter(pk=before.pk).update(ends_on=starts_on)
    made = _create(actor.label, (book, currency), starts_on, terms, change)
    prepaid.count_if_prepaid(made)
    record(CONTRACT_AGREED, actor=actor, target=made, changes=_changes(made, before), reason=reason)
    return made


@operation(CONTRACT_WITHDRAWN)
def _withdraw(*, actor: Actor, tenant: Tenant, reason: str) -> None:
    lock_contracts(tenant.id)
    coming = Contract.objects.filter(starts_on__gte=months_ahead(tenant, 1)[0]).select_related("book").first()
    if coming is None:
        raise Conflict("No contract of this organisation is still to begin. Reload the page.")
    Contract.objects.filter(pk=coming.pk).delete()
    Contract.objects.filter(ends_on=coming.starts_on).update(ends_on=None)
    changes = {"book": [coming.book.name, None], "starts_on": [coming.starts_on, None]}
    record(CONTRACT_WITHDRAWN, actor=actor, target=("contract", coming.pk, str(coming)), changes=changes, reason=reason)


def _create(
    by: str, prices: tuple[PriceBook, str], starts_on: date, terms: ContractTerms, change: CurrencyChange | None = None
) -> Contract:
    book, currency = prices
    return Contract.objects.create(
        book=book,
        currency=currency,
        starts_on=starts_on,
        payment_days=terms.payment_days,
        billing_name=terms.billing_name,
        billing_address=terms.billing_address,
        billing_email=terms.billing_email,
        tax_number=terms.tax_number,
        tax_rate=terms.tax_rate,
        country=terms.country,
        grace_days=terms.grace_days,
        terms=dict(terms.terms),
        agreed_by=by[:254],
        **currency_changes.stored(change),
    )


def _changes(made: Contract, before: Contract | None) -> dict[str, list[object]]:
    names = (
        "starts_on",
        "currency",
        "payment_days",
        "billing_name",
        "billing_email",
        "tax_number",
        "tax_rate",
        "country",
        "grace_days",
        "terms",
    )
    changed = {name: [getattr(before, name, None), getattr(made, name)] for name in names}
    changed["book"] = [before.book.name if before else None, made.book.name]
    return {name: pair for name, pair in changed.items() if pair[0] != pair[1]}


def _book(book_id: UUID, currency: str, starts: datetime) -> PriceBook:
    book = PriceBook.objects.filter(pk=book_id).first()
    if book is None:
        raise NotFound
    pair = book.currency, currency
    if book.currency != currency and rate_in_force(*pair, starts) is None:
        fault = (
            f"This book is in {pair[0]}, the organisation pays in {pair[1]}, and no exchange rate is in force when the contract "
            f"begins. Enter a rate from {pair[0]} to {pair[1]} first, or choose another book."
        )
        raise Invalid(fields={"book": [fault]})
    return book


def _check(terms: ContractTerms, currency: str) -> None:
    faults: dict[str, list[str]] = {}
    if not 0 <= terms.payment_days <= MOST_DAYS:
        faults["payment_days"] = [f"Give 0 to {MOST_DAYS} days."]
    if not 0 <= terms.grace_days <= MOST_GRACE:
        faults["grace_days"] = [f"Give 0 to {MOST_GRACE} days."]
    if terms.tax_rate is not None and not (terms.tax_rate.is_finite() and 0 <= terms.tax_rate <= 100):
        faults["tax_rate"] = ["Give a rate from 0 to 100 per cent."]
    faults |= details_faults(terms)
    if wrong := bill_faults(terms.terms, currency):
        faults["terms"] = [f"{fault.where}: {fault.message}" if fault.where else fault.message for fault in wrong]
    if faults:
        raise Invalid(fields=faults)
