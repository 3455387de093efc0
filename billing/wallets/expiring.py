"""Promotional credit that expires: a notice thirty days ahead, and a nightly sweep that writes it off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from uuid import UUID

from billing.models import CreditBlock, Invoice
from billing.models.invoicing import DRAFT, IN_REVIEW, PERIOD
from billing.models.wallets import EXPIRED, PROMOTIONAL
from billing.money import Money
from billing.queries.calendar import tenant_today
from billing.rating.calendar import next_period
from billing.wallets import blocks
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.isolation import sweeps
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.notifications.notifications import notify

CREDIT_EXPIRED = AuditAction("billing.credit.expired")
CREDIT_EXPIRES = AuditAction("billing.credit.expires")
AHEAD = timedelta(days=30)


def sweep() -> None:
    """Warn of and write off promotional credit of every tenant. Repeatable.

    A failure of one block stops no other, and is raised at the end (SweepFailed).
    """
    due: list[tuple[UUID, Callable[..., None], UUID]] = []
    with sweeps.sweep("promotional credit") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                due += [(tenant_id, *one) for one in _due()]
        for tenant_id, act, block_id in each.over(due):
            with each(tenant=tenant_id, block=block_id):
                act(actor=Actor.system(tenant_id, "billing"), block_id=block_id)


def _due() -> list[tuple[Callable[..., None], UUID]]:
    today = tenant_today().day
    ending = CreditBlock.objects.filter(kind=PROMOTIONAL, remaining__gt=0, expires_on__isnull=False).order_by("id")
    over = ending.filter(expires_on__lte=today)
    soon = ending.filter(expires_on__gt=today, expires_on__lte=today + AHEAD, warned_at=None)
    return [(act, pk) for act, rows in ((expire, over), (warn, soon)) for pk in rows.values_list("id", flat=True)]


@operation(CREDIT_EXPIRED)
def expire(*, actor: Actor, block_id: UUID) -> None:
    """Write off what is left of an expired block, once no draft of a month that it may pay is open."""
    currency = CreditBlock.objects.values_list("currency", flat=True).get(pk=block_id)
    blocks.lock_wallet(currency)
    block = CreditBlock.objects.get(pk=block_id)
    if not block.remaining or block.expires_on is None or _may_still_pay(block, block.expires_on):
        unchanged("it is used up, or a draft may still use it")
        return
    left = blocks.write_off(block, EXPIRED)
    changes = {"left": [left.json(), Money.zero(currency).json()]}
    record(CREDIT_EXPIRED, actor=actor, target=block, changes=changes)


@operation(CREDIT_EXPIRES)
def warn(*, actor: Actor, block_id: UUID) -> None:
    """Notify that a block expires soon, once."""
    fresh = CreditBlock.objects.filter(pk=block_id, warned_at=None, remaining__gt=0).update(warned_at=DatabaseNow())
    if not fresh:
        unchanged("it was notified, or is used up")
        return
    block = CreditBlock.objects.get(pk=block_id)
    record(CREDIT_EXPIRES, actor=actor, target=block, changes={"expires_on": [None, block.expires_on]})
    notify(
        permission="invoices.view",
        kind="credit",
        title=f"{Money(block.remaining, block.currency).plain()} of credit expires on {block.expires_on:%d %B %Y}",
        body="It pays for usage until the day before. What is left of it after those bills is written off.",
        path="wallet/",
    )


def _may_still_pay(block: CreditBlock, expires_on: date) -> bool:
    """Return whether the draft of a month is open that has a day in the block's time."""
    drafts = Invoice.objects.filter(kind=PERIOD, state__in=[DRAFT, IN_REVIEW], currency=block.currency)
    periods = drafts.values_list("period", flat=True)
    return any(block.starts_on < next_period(period) and period < expires_on for period in periods)
