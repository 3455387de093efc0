"""What stands on the document of an invoice: its parties, lines by project, taxes and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from billing.documents import wording
from billing.documents.groups import grouped
from billing.documents.sheet import Sheet
from billing.documents.wording import money, plain
from billing.money import Money
from billing.queries.invoices import InvoiceView
from billing.queries.lines import InvoiceLine

HEAD = ("Description", "Quantity", "Unit price", "Amount")
DRAFT_TEXT = "Draft: this is not an invoice"


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """An invoice with its lines and the days to pay it. `projects_by_id`: the seller sees no names of projects."""

    view: InvoiceView
    lines: Sequence[InvoiceLine]
    days: int
    projects_by_id: bool = False

    @property
    def issued_on(self) -> date | None:
        """The day that its due day was counted from; None for a draft."""
        return self.view.due_on - timedelta(days=self.days) if self.view.due_on else None


def invoice_sheet(invoice: Invoice) -> Sheet:
    """Return the document of an invoice, or of a draft, which has no number."""
    view = invoice.view
    groups, remark = grouped(invoice.lines, view.currency, projects_by_id=invoice.projects_by_id)
    made = view.finalised_at or view.created_at or view.starts_at
    number = plain(view.number) or "Draft"
    title = f"Invoice {number}" if view.number else f"Draft invoice of {wording.month(view.period)}"
    mark, mark_text = ("DRAFT", DRAFT_TEXT) if view.is_draft else ("", "")
    if view.state == "void":
        mark, mark_text = "VOID", "Void"
    footer = f"{title} · SHA-256 of its content {view.content_hash}" if view.content_hash else title
    return Sheet(
        title=title,
        heading="Draft" if view.is_draft else "Invoice",
        made=made,
        seller=view.seller,
        customer=view.customer,
        facts=_facts(invoice, number),
        head=HEAD,
        groups=groups,
        totals=_totals(view),
        mark=mark,
        mark_text=mark_text,
        nothing="No usage in this period.",
        remark=remark,
        taxes=[
            (plain(f"{row.name} {wording.percent(row.rate)}"), money(row.taxable), money(row.tax)) for row in view.taxes
        ],
        notes=_notes(invoice),
        footer=footer,
    )


def _facts(invoice: Invoice, number: str) -> list[tuple[str, str]]:
    view = invoice.view
    facts = [
        ("Number", number if view.number else "none: a draft"),
        ("Period", wording.days_of(view)),
        ("Time zone", wording.zone_of(view)),
    ]
    if invoice.issued_on and view.due_on:
        facts += [("Issued", wording.day(invoice.issued_on)), ("Due", wording.day(view.due_on))]
    facts.append(("Currency", view.currency))
    if view.state == "void":
        facts.append(("State", "void"))
    return facts


def _totals(view: InvoiceView) -> list[tuple[str, str, bool]]:
    totals = [
        ("Subtotal", money(view.subtotal), False),
        ("Tax", money(view.tax), False),
        ("Total", money(view.total), view.is_draft),
    ]
    if not view.is_draft:
        zero = Money.zero(view.currency)
        totals += [
            ("Credited", money(-(view.credited or zero)), False),
            ("Paid", money(-(view.paid or zero)), False),
        ]
        returned = view.due - view.total + (view.credited or zero) + (view.paid or zero)
        if returned and view.state != "void":
            totals.append(("Returned", money(returned), False))
        totals.append(("Amount due", money(view.due), True))
    return totals


def _notes(invoice: Invoice) -> list[tuple[str, Sequence[str]]]:
    view = invoice.view
    terms = f"Payable within {invoice.days} days of the issue day" if invoice.days else "Payable on the issue day"
    notes: list[tuple[str, Sequence[str]]] = []
    if view.state == "void":
        notes.append(("Void", [f"This invoice was withdrawn. {plain(view.void_reason, 400)}"]))
    else:
        due = f", by {wording.day(view.due_on)}" if view.due_on else ""
        notes.append(("Payment terms", [f"{terms}{due}."]))
        notes += [("Tax", [text]) for text in dict.fromkeys(plain(row.sentence) for row in view.taxes if row.note)]
        if pay := wording.paragraph(view.seller.get("how_to_pay", "")):
            named = [f"Give the number {plain(view.number)} with your payment."] if view.number else []
            notes.append(("How to pay", [*pay, *named]))
    return notes
