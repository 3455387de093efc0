"""Comments of operators on an invoice: for each other, append-only."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from billing.invoices.disputing import checked_text
from billing.models import Invoice, InvoiceComment
from tenants.audit import AuditAction
from tenants.errors import NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

INVOICE_COMMENTED = AuditAction("billing.invoice.commented")


def comment(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, text: str) -> None:
    """Note something about an invoice for other operators; its tenant does not read it. Raises NotFound, Invalid."""
    operator.require("invoices.manage")
    text = checked_text(text)
    with transaction.atomic():
        with tenant_scope(tenant_id):
            if not Invoice.objects.filter(pk=invoice_id).exists():
                raise NotFound
            InvoiceComment.objects.create(invoice_id=invoice_id, text=text, written_by=operator.label[:254])
        record_act(operator, INVOICE_COMMENTED, target=("invoice", invoice_id, "comment"))
