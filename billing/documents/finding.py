"""The documents of the open scope's tenant, ready to be typeset."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from billing.documents.credit_note_sheet import credit_note_sheet
from billing.documents.invoice_sheet import Invoice, invoice_sheet
from billing.documents.sheet import Sheet
from billing.documents.statement_sheet import statement_sheet
from billing.invoices.freezing import DAYS_TO_PAY
from billing.invoices.parties import current_seller, customer
from billing.queries.calendar import tenant_today
from billing.queries.drafts import contract_in
from billing.queries.invoices import InvoiceView, with_lines
from billing.queries.issued import credit_note
from billing.queries.owed.statements import Statement
from tenants import clock


def document_of_invoice(invoice_id: UUID, *, projects_by_id: bool = False) -> tuple[InvoiceView, Sheet]:
    """Return an invoice and its document; a draft's names the parties as they are now. Raises NotFound."""
    view, lines = with_lines(invoice_id)
    contract = contract_in(view.period)
    if view.is_draft:
        view = replace(view, seller=current_seller().stored(), customer=customer(contract).stored())
    days = contract.payment_days if contract else DAYS_TO_PAY
    return view, invoice_sheet(Invoice(view=view, lines=lines, days=days, projects_by_id=projects_by_id))


def document_of_credit_note(invoice_id: UUID, note_id: UUID) -> tuple[str, Sheet]:
    """Return a credit note's number and its document. Raises NotFound."""
    note = credit_note(invoice_id, note_id)
    return note.number, credit_note_sheet(note, *with_lines(invoice_id))


def document_of_statement(shown: Statement) -> tuple[str, Sheet]:
    """Return the file's name and the document of a statement; it names the parties as they are now."""
    buyer = customer(contract_in(tenant_today().period))
    sheet = statement_sheet(shown, seller=current_seller(), customer=buyer, at=clock.now())
    return f"statement-{shown.starts_on}-{shown.ends_on}.pdf", sheet
