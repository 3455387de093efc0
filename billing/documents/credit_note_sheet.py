"""What stands on the document of a credit note: what it takes off which line, and where the money goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from uuid import UUID

from billing.documents import wording
from billing.documents.groups import MOST_ROWS
from billing.documents.sheet import Group, Row, Sheet
from billing.documents.wording import money, plain
from billing.money import Money
from billing.queries.invoices import InvoiceView
from billing.queries.issued import CreditedLine, CreditNoteView
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine


def credit_note_sheet(note: CreditNoteView, view: InvoiceView, lines: Sequence[InvoiceLine]) -> Sheet:
    """Return the document of a credit note on an invoice with these lines."""
    title = f"Credit note {plain(note.number)}"
    by_id = {line.id: line for line in lines}
    rows = [_row(one, by_id) for one in note.lines]
    if len(rows) > MOST_ROWS:
        rows = [Row(title=f"{len(rows):,} lines", detail="", cells=[[money(note.tax)], [money(note.subtotal)]])]
    group = Group(
        name=f"Taken off invoice {plain(view.number)}",
        rows=rows,
        sum=money(note.subtotal),
        sum_name="Total without tax",
    )
    return Sheet(
        title=title,
        heading="Credit note",
        customer_of="Credited to",
        made=note.issued_at,
        seller=view.seller,
        customer=view.customer,
        facts=[
            ("Number", plain(note.number)),
            ("On invoice", plain(view.number)),
            ("Period of the invoice", wording.days_of(view)),
            ("Issued", f"{wording.day(note.issued_at.astimezone(UTC).date())} (UTC)"),
            ("Currency", view.currency),
        ],
        head=("Description", "Tax", "Credited without tax"),
        groups=[group],
        totals=[
            ("Subtotal", money(note.subtotal), False),
            ("Tax", money(note.tax), False),
            ("Total credited", money(note.total), True),
            *((name, money(amount), False) for name, amount in _destinations(note) if amount),
        ],
        notes=[("Reason", [plain(note.reason, 400)])],
        footer=f"{title} · SHA-256 of its content {note.content_hash}",
    )


def _destinations(note: CreditNoteView) -> Sequence[tuple[str, Money]]:
    return (
        ("Off what was due", note.off_due),
        ("Refunded", note.refunded),
        ("Into the wallet", note.to_wallet),
    )


def _row(one: CreditedLine, lines: Mapping[UUID, InvoiceLine]) -> Row:
    line = lines[one.line_id]
    origin = [f"Correction of {wording.month(line.origin)}"] if line.origin else []
    dims = [wording.pair(*one) for one in sorted(line.dims.items())]
    rate = [f"tax {wording.percent(line.tax_rate)}"] if line.tax_rate is not None else []
    detail = " · ".join((f"Line {line.n}", *origin, *dims, *rate))
    usage = line.kind in (USAGE, CORRECTION)
    title = plain(line.meter_title if usage and line.meter_title else line.kind.replace("_", " ").capitalize())
    return Row(title=title, detail=plain(detail, 600), cells=[[money(one.tax)], [money(one.amount)]])
