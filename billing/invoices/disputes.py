"""Disputes as both sides read them: those of an invoice, one with its messages, and the open ones of all tenants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from billing.models import Dispute, DisputeMessage, InvoiceComment
from billing.models.disputes import AGREED, DISPUTED
from billing.queries.invoices import InvoiceView, with_lines
from billing.queries.lines import InvoiceLine
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants
from tenants.operators.attention import MOST, Matter


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """A dispute; `line` is the line's number when it was opened."""

    id: UUID
    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    invoice_id: UUID
    number: str
    line_id: UUID
    line: int
    state: str
    opened_by: str
    opened_at: datetime
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it still waits for an end."""
        return self.state == DISPUTED


@dataclass(frozen=True, slots=True)
class Written:
    """A message of a side, or a comment."""

    text: str
    by: str
    at: datetime
    side: str = ""


@dataclass(frozen=True, slots=True)
class Thread:
    """A dispute with its messages, and the invoice and line that it is about; a draft's line may be gone."""

    row: DisputeRow
    messages: Sequence[Written]
    invoice: InvoiceView
    line: InvoiceLine | None

    @property
    def wants_credit(self) -> bool:
        """Whether a credit note is what follows: the seller agreed on an invoice that stands."""
        return self.row.state == AGREED and not self.invoice.is_draft


def of_invoice(invoice_id: UUID) -> list[DisputeRow]:
    """Return the disputes of an invoice of the open scope, the newest first."""
    return _rows(Dispute.objects.filter(invoice_id=invoice_id))


def of_tenant(*, before: UUID | None = None, limit: int = 50) -> list[DisputeRow]:
    """Return up to `limit` + 1 disputes of the open scope's tenant, the newest first, older than `before`."""
    found = Dispute.objects.all() if before is None else Dispute.objects.filter(id__lt=before)
    return _rows(found, limit + 1)


def of_all(*, state: str = "", before: UUID | None = None, limit: int = 50) -> list[DisputeRow]:
    """Return up to `limit` + 1 disputes of all tenants, the newest first (console)."""
    with all_tenants("the console lists the disputes of every tenant"):
        found = Dispute.objects.filter(state=state) if state else Dispute.objects.all()
        return _rows(found if before is None else found.filter(id__lt=before), limit + 1)


def waiting() -> list[Matter]:
    """Return the number of open disputes of all tenants, for the console's home."""
    with all_tenants("the console counts open disputes"):
        number = Dispute.objects.filter(state=DISPUTED)[:MOST].count()
    return [Matter(text="Disputes of invoices that wait for an answer", number=number, page="operator-disputes")]


def tenant_of(dispute_id: UUID) -> UUID:
    """Return the tenant of a dispute. Raises NotFound."""
    with all_tenants("the console finds a dispute by its id alone"):
        found = Dispute.objects.filter(pk=dispute_id).values_list("tenant_id", flat=True).first()
    if found is None:
        raise NotFound
    return found


def thread(dispute_id: UUID) -> Thread:
    """Return a dispute of the open scope with its messages. Raises NotFound."""
    rows = _rows(Dispute.objects.filter(pk=dispute_id))
    if not rows:
        raise NotFound
    messages = DisputeMessage.objects.filter(dispute_id=dispute_id).order_by("id")
    view, lines = with_lines(rows[0].invoice_id)
    line = next((one for one in lines if one.id == rows[0].line_id), None)
    return Thread(
        rows[0], [Written(one.text, one.written_by, one.written_at, one.side) for one in messages], view, line
    )


def comments(invoice_id: UUID) -> list[Written]:
    """Return what operators noted about an invoice of the open scope, the earliest first."""
    rows = InvoiceComment.objects.filter(invoice_id=invoice_id).order_by("id")
    return [Written(one.text, one.written_by, one.written_at) for one in rows]


def _rows(found: object, limit: int = 200) -> list[DisputeRow]:
    listed = found.select_related("tenant", "invoice").order_by("-id")[:limit]  # type: ignore[attr-defined]
    return [
        DisputeRow(
            id=row.pk,
            tenant_id=row.tenant_id,
            tenant_slug=row.tenant.slug,
            tenant_name=row.tenant.name,
            invoice_id=row.invoice_id,
            number=row.invoice.label,
            line_id=row.line_id,
            line=row.line_n,
            state=row.state,
            opened_by=row.opened_by,
            opened_at=row.opened_at,
            ended_at=row.ended_at,
        )
        for row in listed
    ]
