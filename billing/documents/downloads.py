"""Downloads of documents: each is an entry, of the tenant's audit log or of the operators', before a byte is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from billing.queries.invoices import InvoiceView
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

DOCUMENT_DOWNLOADED = AuditAction("billing.document.downloaded", while_closing=True)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A file of an invoice that somebody downloads; `content` if it is whole already."""

    invoice_id: UUID
    filename: str
    content: bytes | None = None


@operation(DOCUMENT_DOWNLOADED)
def note(*, actor: Actor, taken: Taken) -> None:
    """Record in the tenant's audit log that a document was downloaded."""
    changes: dict[str, list[object]] = {"file": [None, taken.filename]}
    if taken.content is not None:
        changes |= {"sha256": [None, sha256(taken.content).hexdigest()], "bytes": [None, len(taken.content)]}
    record(DOCUMENT_DOWNLOADED, actor=actor, target=("invoice", taken.invoice_id, taken.filename), changes=changes)


@operation(DOCUMENT_DOWNLOADED)
def note_statement(*, actor: Actor, filename: str, content: bytes) -> None:
    """Record in the tenant's audit log that a statement of account was downloaded."""
    changes = {"file": [None, filename], "sha256": [None, sha256(content).hexdigest()]}
    record(DOCUMENT_DOWNLOADED, actor=actor, target=("tenant", actor.tenant_id, filename), changes=changes)


def note_of_operator(*, operator: Operator, taken: Taken) -> None:
    """Record in the operator log that an operator downloaded a document."""
    operator.require("invoices.view")
    record_act(operator, DOCUMENT_DOWNLOADED, target=("invoice", taken.invoice_id, taken.filename))


def filename(view: InvoiceView, ending: str) -> str:
    """Return the name of an invoice's file: INV-000001.pdf, draft-2027-03.csv."""
    return named(view.number or f"draft-{view.period:%Y-%m}", ending)


def named(label: str, ending: str) -> str:
    """Return the name of the file of a document with this number."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', label)}{ending}"
