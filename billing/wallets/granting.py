"""Promotional credit: what operators give, and take back while it is not used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from billing.models import CreditBlock
from billing.models.wallets import GRANT, PROMOTIONAL, WITHDRAWN
from billing.money import Money, fineness_fault
from billing.queries.calendar import tenant_today
from billing.rating.billed.credits import LAST_PRIORITY
from billing.rating.billed.faults import MOST_IN_SCOPE
from billing.rating.billed.usage import Scope
from billing.wallets import blocks
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

CREDIT_GRANTED = AuditAction("billing.credit.granted")
CREDIT_WITHDRAWN = AuditAction("billing.credit.withdrawn")
LARGEST = Decimal(10) ** 9


class NothingLeft(Conflict):
    """Nothing is left of this credit: it is used, expired or withdrawn."""

    code = "credit_used_up"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Credit to give in the organisation's currency. It can be used until the day before `expires_on`."""

    amount: Decimal
    expires_on: date | None = None
    priority: int = 50
    meters: frozenset[str] = frozenset()
    projects: frozenset[UUID] = frozenset()


def grant(*, operator: Operator, tenant_id: UUID, given: Grant, reason: str) -> UUID:
    """Give an organisation promotional credit from today on; return the block's id. Raises NotFound, Invalid."""
    operator.require("invoices.manage")
    reason = check_reason(reason)
    if not Tenant.objects.filter(pk=tenant_id).exists():
        raise NotFound
    with transaction.atomic():
        block = _grant(actor=Actor.system(tenant_id, "operator"), given=given, reason=reason, by=operator.label)
        record_act(operator, CREDIT_GRANTED, target=("credit", block, f"{given.amount:f}"), reason=reason)
    return block


def withdraw(*, operator: Operator, block_id: UUID, tenant_id: UUID, reason: str) -> None:
    """Take back what is left of promotional credit. Raises NotFound, NothingLeft."""
    operator.require("invoices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        left = _withdraw(actor=Actor.system(tenant_id, "operator"), block_id=block_id, reason=reason)
        record_act(operator, CREDIT_WITHDRAWN, target=("credit", block_id, left.plain()), reason=reason)


@operation(CREDIT_GRANTED)
def _grant(*, actor: Actor, given: Grant, reason: str, by: str) -> UUID:
    at = tenant_today()
    if faults := _faults(given, at.day, at.currency):
        raise Invalid(fields=faults)
    amount = Money(given.amount, at.currency)
    terms = blocks.Terms(
        starts_on=at.day,
        expires_on=given.expires_on,
        priority=given.priority,
        scope=Scope(given.meters, given.projects),
        reason=reason,
    )
    block = blocks.add(source=GRANT, kind=PROMOTIONAL, amount=amount, by=by, terms=terms)
    expires = given.expires_on.isoformat() if given.expires_on else None
    changes = {"amount": [None, amount.json()], "expires_on": [None, expires], "priority": [None, given.priority]}
    record(CREDIT_GRANTED, actor=actor, target=block, changes=changes, reason=reason)
    return block.pk


@operation(CREDIT_WITHDRAWN)
def _withdraw(*, actor: Actor, block_id: UUID, reason: str) -> Money:
    currency = CreditBlock.objects.filter(pk=block_id, kind=PROMOTIONAL).values_list("currency", flat=True).first()
    if currency is None:
        raise NotFound
    blocks.lock_wallet(currency)
    block = CreditBlock.objects.get(pk=block_id)
    if not block.remaining:
        raise NothingLeft
    left = blocks.write_off(block, WITHDRAWN)
    zero = Money.zero(currency)
    record(CREDIT_WITHDRAWN, actor=actor, target=block, changes={"left": [left.json(), zero.json()]}, reason=reason)
    return left


def _faults(given: Grant, today: date, currency: str) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    if not given.amount.is_finite() or not 0 < given.amount < LARGEST:
        faults["amount"] = ["Give an amount above 0 and below 1,000,000,000."]
    elif fault := fineness_fault(given.amount, currency):
        faults["amount"] = [fault]
    if given.expires_on is not None and given.expires_on <= today:
        faults["expires_on"] = ["Give a day to come, or none."]
    if not 0 <= given.priority <= LAST_PRIORITY:
        faults["priority"] = [f"Give a number from 0, which is used first, to {LAST_PRIORITY}."]
    for name in ("meters", "projects"):
        if len(getattr(given, name)) > MOST_IN_SCOPE:
            faults[name] = [f"Name at most {MOST_IN_SCOPE}, or none for all."]
    return faults
