"""Finalise, void and credit as an operator wants it: at once, or by a request that another operator approves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction

from billing.invoices import crediting, finalising, parties, voiding
from billing.invoices.crediting import PaidBack, Part
from billing.models import Invoice
from billing.money import Money
from billing.platform_events import APPROVAL_WAITS
from billing.second_person import NeedsSecondPerson
from tenants.access.actor import Actor
from tenants.approvals import kinds
from tenants.approvals.approvals import APPROVAL_REQUESTED
from tenants.currencies import exact_text
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, Tenant
from tenants.operators.answers import asking
from tenants.operators.answers.asking import Waiting
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.platform_events.raising import raise_event

Done = TypeVar("Done")
KIND = "invoice"
FINALISE, VOID, CREDIT = "finalise", "void", "credit"
DONE = {
    FINALISE: finalising.INVOICE_FINALISED,
    VOID: voiding.INVOICE_VOIDED,
    CREDIT: crediting.INVOICE_CREDITED,
}
#: How an act is worded; the invoice follows, then the amount.
WORDS = {FINALISE: "Finalise", VOID: "Void", CREDIT: "Credit"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that another operator answers."""

    approval_id: UUID


def finalise(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, early: str = "") -> str | Asked:
    """Finalise a draft and return its number, or ask for it. Raises as `finalising.finalise`."""
    given = {"early": early}
    return _or_ask(
        lambda: finalising.finalise(operator=operator, tenant_id=tenant_id, invoice_id=invoice_id, **given),
        (operator, tenant_id, invoice_id),
        {"act": FINALISE, **given},
        early or "It is reviewed.",
    )


def void(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, reason: str, reissue: bool) -> UUID | Asked | None:
    """Void an invoice and return the new draft's id, or ask for it. Raises as `voiding.void`."""
    return _or_ask(
        lambda: voiding.void(
            operator=operator, tenant_id=tenant_id, invoice_id=invoice_id, reason=reason, reissue=reissue
        ),
        (operator, tenant_id, invoice_id),
        {"act": VOID, "reissue": reissue},
        reason,
    )


def credit(
    *,
    operator: Operator,
    tenant_id: UUID,
    invoice_id: UUID,
    parts: Sequence[Part],
    reason: str,
    paid_back: PaidBack = "refund",
) -> UUID | Asked:
    """Issue a credit note and return its id, or ask for it. Raises as `crediting.credit`."""
    return _or_ask(
        lambda: crediting.credit(
            operator=operator,
            tenant_id=tenant_id,
            invoice_id=invoice_id,
            parts=parts,
            reason=reason,
            paid_back=paid_back,
        ),
        (operator, tenant_id, invoice_id),
        {"act": CREDIT, "parts": [[str(one.line_id), str(one.amount)] for one in parts], "paid_back": paid_back},
        reason,
    )


def waiting(invoice_ids: Sequence[UUID]) -> dict[UUID, list[Waiting]]:
    """Return the open requests about these invoices of all tenants, in one query."""
    found: dict[UUID, list[Waiting]] = {}
    for one in asking.waiting(KIND, "invoice", [str(one) for one in invoice_ids]):
        found.setdefault(UUID(one.wanted["invoice"]), []).append(one)
    return found


def _or_ask(
    act: Callable[[], Done], of: tuple[Operator, UUID, UUID], wanted: dict[str, Any], reason: str
) -> Done | Asked:
    operator, tenant_id, invoice_id = of
    try:
        return act()
    except NeedsSecondPerson as needed:
        wanted |= {"invoice": str(invoice_id), "amount": needed.extra["amount"]}
    with transaction.atomic():
        with tenant_scope(tenant_id):
            invoice = Invoice.objects.get(pk=invoice_id)
            target = f"{invoice.label or f'{invoice.period:%B %Y}'} of {Tenant.objects.get(pk=tenant_id).name}"
        system = Actor.system(tenant_id, "operator")
        row, new = asking.request(
            actor=system, operator=operator, kind=KIND, target=target, wanted=wanted, reason=reason
        )
        if new:
            said = _describe(wanted, row.target)
            record_act(operator, APPROVAL_REQUESTED, target=("invoice", invoice_id, said), reason=reason)
            raise_event(
                APPROVAL_WAITS, of=("approval", row.id), path="approvals/", about=tenant_id, data={"act": wanted["act"]}
            )
    return Asked(row.id)


def _apply(actor: Actor, row: Approval) -> None:
    """Do what was asked for, in the name of the operator who asked."""
    wanted, by = row.wanted, row.requester_label
    invoice_id = UUID(wanted["invoice"])
    approved = Money(Decimal(wanted["amount"]["amount"]), wanted["amount"]["currency"])
    if wanted["act"] == FINALISE:
        finalising.finalise_as(
            actor=actor,
            invoice_id=invoice_id,
            by=by,
            issuer=parties.seller(),
            early=wanted["early"],
            approved=approved,
        )
    elif wanted["act"] == VOID:
        voiding.void_as(
            actor=actor,
            invoice_id=invoice_id,
            reason=row.reason,
            reissue=wanted["reissue"],
            by=by,
            approved=approved,
        )
    else:
        parts = [Part(UUID(line), Decimal(amount)) for line, amount in wanted["parts"]]
        asked = crediting.Wanted(parts, row.reason, wanted["paid_back"], approved)
        crediting.credit_as(actor=actor, invoice_id=invoice_id, wanted=asked, by=by)


def _log(operator: Operator, row: Approval) -> None:
    """Enter what was done in the operator log, as a sole operator's act is entered."""
    invoice_id = UUID(row.wanted["invoice"])
    with tenant_scope(row.tenant_id):
        label = Invoice.objects.values_list("label", flat=True).get(pk=invoice_id)
    said = f"{label}, asked by {row.requester_label}"
    record_act(operator, DONE[row.wanted["act"]], target=("invoice", invoice_id, said), reason=row.reason)


def _describe(wanted: Mapping[str, Any], target: str) -> str:
    amount = exact_text(Decimal(wanted["amount"]["amount"]), wanted["amount"]["currency"])
    if wanted["act"] == CREDIT:
        return f"Credit {target}, which brings its credits to {amount}."
    return f"{WORDS[wanted['act']]} {target}, {amount}."


kinds.register(
    kinds.ApprovalKind(
        name=KIND,
        title="Act on an invoice",
        permission="invoices.manage",
        apply=_apply,
        describe=_describe,
        side=kinds.OPERATORS,
        between_operators=True,
        after=_log,
        page=lambda wanted: f"invoices/{wanted['invoice']}/",
    )
)
