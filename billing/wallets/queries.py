"""The wallet of the open scope: what it has, what is promised of it, its blocks, and its movements from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from billing.credit.queries import outlook
from billing.models import CreditBlock, TopUp, Wallet
from billing.models.invoicing import VOID
from billing.models.wallets import PAID_CREDIT, PROMOTIONAL
from billing.money import Money
from billing.queries.calendar import Today, tenant_today
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Tenant
from tenants.rows import named_rows

SOON = timedelta(days=30)
#: Blocks that nothing is left of leave the page after the newest of them.
MOST_BLOCKS = 100
MOST_TOP_UPS = 50
#: What the owner of the wallet sees of a posting: money that comes in is positive.
MOVEMENTS = """
SELECT t.id, t.posted_at, t.kind, -sum(p.amount) AS amount, p.account, t.invoice_id, coalesce(i.label, '') AS number
FROM billing_ledgerposting p JOIN billing_ledgertransaction t ON t.tenant_id = p.tenant_id AND t.id = p.transaction_id
LEFT JOIN billing_invoice i ON i.tenant_id = t.tenant_id AND i.id = t.invoice_id
WHERE p.tenant_id = %(tenant)s AND p.currency = %(currency)s AND p.account IN ('wallet', 'credit')
  AND p.pot IN (SELECT %(tenant)s::uuid UNION ALL SELECT b.id FROM billing_creditblock b WHERE b.tenant_id = %(tenant)s AND b.kind = 'promotional')
  AND (%(at)s::timestamptz IS NULL OR (t.posted_at, t.id) < (%(at)s, %(id)s::uuid))
GROUP BY t.id, t.posted_at, t.kind, p.account, t.invoice_id, i.label ORDER BY t.posted_at DESC, t.id DESC, p.account LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block of credit; pages name it by `reference`. `expires_soon`: within thirty days."""

    id: UUID
    kind: str
    source: str
    amount: Money
    left: Money
    priority: int
    starts_on: date
    expires_on: date | None
    meters: Sequence[str]
    projects: Sequence[str]
    reason: str
    made_at: datetime
    invoice_id: UUID | None
    expires_soon: bool

    @property
    def reference(self) -> str:
        """The end of its id."""
        return str(self.id)[-8:]

    @property
    def may_be_withdrawn(self) -> bool:
        """Whether an operator may take back what is left."""
        return self.kind == PROMOTIONAL and bool(self.left)


@dataclass(frozen=True, slots=True)
class TopUpView:
    """A top-up. `state`: asked, open (its invoice waits for money), paid, void."""

    id: UUID
    amount: Money
    automatic: bool
    asked_at: datetime
    asked_by: str
    state: str
    invoice_id: UUID | None
    number: str


@dataclass(frozen=True, slots=True)
class Automatic:
    """The automatic top-up: of `amount` once less than `below` is available, within `most` a local month."""

    below: Money
    amount: Money
    most: Money


@dataclass(frozen=True, slots=True)
class WalletView:
    """What a wallet has (`balance`: paid credit), and what of it usage may still take (`available`).

    `unbilled` is usage of months whose invoice is a draft, without tax. `others`: credit in other currencies, which pays only
    invoices in them.
    """

    currency: str
    prepaid: bool
    balance: Money
    promotional: Money
    held: Money
    unbilled: Money
    available: Money
    blocks: Sequence[BlockView]
    top_ups: Sequence[TopUpView]
    automatic: Automatic | None
    others: Sequence[Money] = ()

    @property
    def expiring(self) -> list[BlockView]:
        """The credit that expires within thirty days."""
        return [one for one in self.blocks if one.expires_soon]


@dataclass(frozen=True, slots=True)
class Movement:
    """What came into the wallet, or left it, by one transaction of the ledger. `credit`: promotional or paid."""

    id: UUID
    at: datetime
    kind: str
    amount: Money
    credit: str
    invoice_id: UUID | None
    number: str


def wallet() -> WalletView:
    """Return the wallet in the tenant's currency; an empty one if there is none."""
    at = tenant_today()
    stands = outlook(at.currency)
    blocks = [_block(row, at) for row in CreditBlock.objects.filter(currency=at.currency).order_by("-id")]
    blocks.sort(key=lambda one: not one.left)
    row = Wallet.objects.filter(currency=at.currency).first()
    automatic = None
    if row and row.top_up_below is not None and row.top_up_amount is not None and row.top_up_most is not None:
        sums = (row.top_up_below, row.top_up_amount, row.top_up_most)
        automatic = Automatic(*(Money(amount, at.currency) for amount in sums))
    zero = Money.zero(at.currency)
    elsewhere = CreditBlock.objects.exclude(currency=at.currency).filter(remaining__gt=0).order_by("currency")
    others = elsewhere.values_list("currency").annotate(left=Sum("remaining"))
    return WalletView(
        currency=at.currency,
        prepaid=stands.prepaid,
        balance=sum((one.left for one in blocks if one.kind == PAID_CREDIT), zero),
        promotional=sum((one.left for one in blocks if one.kind == PROMOTIONAL), zero),
        held=Money(stands.held, at.currency),
        unbilled=Money(stands.spent, at.currency),
        available=Money(stands.available, at.currency),
        blocks=blocks[:MOST_BLOCKS],
        top_ups=top_ups()[:MOST_TOP_UPS],
        automatic=automatic,
        others=[Money(left, currency) for currency, left in others],
    )


def wallet_of(tenant_id: UUID) -> tuple[Tenant, WalletView]:
    """Return a tenant and its wallet, for the console. Raises NotFound."""
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound
    with tenant_scope(tenant_id):
        return tenant, wallet()


def movements(*, after: tuple[datetime, UUID] | None = None, limit: int = 50) -> list[Movement]:
    """Return up to `limit` movements of the wallet, the newest first; `after` is the (time, id) of the previous page's last."""
    at, last = after or (None, None)
    currency = tenant_today().currency
    asked: dict[str, Any] = {"tenant": current_tenant_id(), "currency": currency, "at": at, "id": last, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(MOVEMENTS, asked)
        return [
            Movement(
                id=row.id,
                at=row.posted_at,
                kind=row.kind,
                amount=Money(row.amount, currency),
                credit=PAID_CREDIT if row.account == "wallet" else PROMOTIONAL,
                invoice_id=row.invoice_id,
                number=row.number,
            )
            for row in named_rows(cursor)
        ]


def top_ups(*, before: UUID | None = None, limit: int = MOST_TOP_UPS) -> list[TopUpView]:
    """Return up to `limit` + 1 top-ups, the newest first."""
    rows = TopUp.objects.select_related("invoice").order_by("-id")
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [_top_up(row) for row in rows[: limit + 1]]


def top_up(top_up_id: UUID) -> TopUpView:
    """Return one top-up."""
    return _top_up(TopUp.objects.select_related("invoice").get(pk=top_up_id))


def _top_up(row: TopUp) -> TopUpView:
    state = "asked" if row.invoice is None else "open" if row.closed_at is None else "paid"
    return TopUpView(
        id=row.pk,
        amount=Money(row.amount, row.currency),
        automatic=row.automatic,
        asked_at=row.asked_at,
        asked_by=row.asked_by,
        state=VOID if row.invoice and row.invoice.state == VOID else state,
        invoice_id=row.invoice_id,
        number=row.invoice.label if row.invoice else "",
    )


def _block(row: CreditBlock, at: Today) -> BlockView:
    soon = row.expires_on is not None and bool(row.remaining) and row.expires_on <= at.day + SOON
    return BlockView(
        id=row.pk,
        kind=row.kind,
        source=row.source,
        amount=Money(row.amount, row.currency),
        left=Money(row.remaining, row.currency),
        priority=row.priority,
        starts_on=row.starts_on,
        expires_on=row.expires_on,
        meters=row.meters,
        projects=row.projects,
        reason=row.reason,
        made_at=row.made_at,
        invoice_id=row.invoice_id,
        expires_soon=soon,
    )
