"""Disputes: a tenant objects to a line of an invoice, both sides write, and the seller agrees or declines.

Agreeing changes no amount: on a finalised invoice a credit note follows, on a draft its usage or terms are corrected.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from django.db import IntegrityError, transaction

from billing.events import InvoiceDisputed
from billing.models import Dispute, DisputeMessage
from billing.models.disputes import AGREED, DECLINED, DISPUTED, LONGEST_TEXT, SELLER, TENANT, WITHDRAWN
from billing.models.invoicing import VOID
from billing.queries.invoices import with_lines
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events.events import publish
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

DISPUTE_OPENED = AuditAction("billing.dispute.opened")
DISPUTE_WRITTEN = AuditAction("billing.dispute.written")
DISPUTE_ENDED = AuditAction("billing.dispute.ended")
Answer = Literal["agreed", "declined"]


class DisputeEnded(Conflict):
    """This dispute has ended. Open another one if something is still wrong."""

    code = "dispute_ended"


class AlreadyDisputed(Conflict):
    """This line has an open dispute. Write there."""

    code = "already_disputed"


class NothingToDispute(Conflict):
    """A void invoice is not to be paid: there is nothing to dispute."""

    code = "invoice_void"


def checked_text(text: str, field: str = "text") -> str:
    """Return what a person wrote, without spaces around it. Raises Invalid."""
    text = text.strip()
    if not 3 <= len(text) <= LONGEST_TEXT or "\0" in text:
        raise Invalid(fields={field: [f"Write 3 to {LONGEST_TEXT:,} characters."]})
    return text


@operation(DISPUTE_OPENED)
def open_dispute(*, actor: Actor, invoice_id: UUID, line_id: UUID, reason: str) -> UUID:
    """Object to a line of a draft or a finalised invoice; return the dispute's id.

    Raises NotFound for an unknown invoice, Invalid for an unknown line, AlreadyDisputed, NothingToDispute.
    """
    actor.require("invoices.manage")
    reason = checked_text(reason, "reason")
    view, lines = with_lines(invoice_id)
    if view.state == VOID:
        raise NothingToDispute
    line = next((one for one in lines if one.id == line_id), None)
    if line is None:
        raise Invalid(fields={"line": ["This invoice has no such line. Reload it: a draft's lines may change."]})
    try:
        with transaction.atomic():
            made = Dispute.objects.create(
                invoice_id=invoice_id, line_id=line_id, line_n=line.n, opened_by=actor.label[:254]
            )
    except IntegrityError as taken:
        raise AlreadyDisputed from taken
    _write(made, TENANT, actor.label, reason)
    record(DISPUTE_OPENED, actor=actor, target=made, changes={"line": [None, str(line_id)]})
    _publish(actor, made, TENANT, DISPUTED)
    return made.pk


@operation(DISPUTE_WRITTEN)
def write(*, actor: Actor, dispute_id: UUID, text: str) -> None:
    """Write to the seller about an open dispute. Raises NotFound, DisputeEnded, Invalid."""
    actor.require("invoices.manage")
    _reply(actor, dispute_id, TENANT, actor.label, checked_text(text))


@operation(DISPUTE_ENDED)
def withdraw(*, actor: Actor, dispute_id: UUID) -> None:
    """Take a dispute back. Raises NotFound, DisputeEnded."""
    actor.require("invoices.manage")
    _end(actor, dispute_id, WITHDRAWN, actor.label)


def reply(*, operator: Operator, tenant_id: UUID, dispute_id: UUID, text: str) -> None:
    """Write to the tenant about an open dispute. Raises NotFound, DisputeEnded, Invalid."""
    operator.require("invoices.manage")
    text = checked_text(text)
    with transaction.atomic():
        _reply_as(actor=Actor.system(tenant_id, "operator"), dispute_id=dispute_id, by=operator.label, text=text)
        record_act(operator, DISPUTE_WRITTEN, target=("dispute", dispute_id, "reply"))


def answer(*, operator: Operator, tenant_id: UUID, dispute_id: UUID, outcome: Answer, text: str) -> None:
    """Agree to a dispute, or decline it, with a message. Raises NotFound, DisputeEnded, Invalid."""
    operator.require("invoices.manage")
    if outcome not in (AGREED, DECLINED):
        raise Invalid(fields={"outcome": ["Choose agreed or declined."]})
    text = checked_text(text)
    with transaction.atomic():
        actor = Actor.system(tenant_id, "operator")
        _answer(actor=actor, dispute_id=dispute_id, outcome=outcome, by=operator.label, text=text)
        record_act(operator, DISPUTE_ENDED, target=("dispute", dispute_id, outcome), reason=text[:400])


@operation(DISPUTE_WRITTEN)
def _reply_as(*, actor: Actor, dispute_id: UUID, by: str, text: str) -> None:
    _reply(actor, dispute_id, SELLER, by, text)


@operation(DISPUTE_ENDED)
def _answer(*, actor: Actor, dispute_id: UUID, outcome: Answer, by: str, text: str) -> None:
    _write(_locked(dispute_id), SELLER, by, text)
    _end(actor, dispute_id, outcome, by)


def _reply(actor: Actor, dispute_id: UUID, side: str, by: str, text: str) -> None:
    dispute = _locked(dispute_id)
    _write(dispute, side, by, text)
    record(DISPUTE_WRITTEN, actor=actor, target=dispute, changes={"side": [None, side]})
    _publish(actor, dispute, side, DISPUTED)


def _end(actor: Actor, dispute_id: UUID, state: str, by: str) -> None:
    dispute = _locked(dispute_id)
    Dispute.objects.filter(pk=dispute_id).update(state=state, ended_by=by[:254], ended_at=DatabaseNow())
    record(DISPUTE_ENDED, actor=actor, target=dispute, changes={"state": [DISPUTED, state]})
    _publish(actor, dispute, TENANT if state == WITHDRAWN else SELLER, state)


def _locked(dispute_id: UUID) -> Dispute:
    found = Dispute.objects.select_for_update(no_key=True).filter(pk=dispute_id).first()
    if found is None:
        raise NotFound
    if found.state != DISPUTED:
        raise DisputeEnded
    return found


def _write(dispute: Dispute, side: str, by: str, text: str) -> None:
    DisputeMessage.objects.create(dispute=dispute, side=side, text=text, written_by=by[:254])


def _publish(actor: Actor, dispute: Dispute, side: str, state: str) -> None:
    publish(
        InvoiceDisputed(
            tenant_id=actor.tenant_id,
            invoice_id=dispute.invoice_id,
            dispute_id=dispute.pk,
            line=dispute.line_n,
            side=side,
            state=state,
        )
    )
