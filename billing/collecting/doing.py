"""Take one step at the payment provider. No transaction is open; what happens to the step is the caller's to store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billing.collecting.accounts import ensure_customer
from billing.collecting.reading import Work, credit_of, draft_of, is_open, is_reversed, refund_of
from billing.models import Collection
from billing.models.collecting import CHARGE, CREDIT, GIVE_BACK, PAID_OUTSIDE, PUSH, VOIDING
from billing.payments.errors import Declined, GatewayRefused
from billing.payments.gateway import PaymentGateway
from billing.payments.requests import Kind, Lookup, Timing
from tenants import clock
from tenants.isolation.scoping import tenant_scope

#: States of an invoice at the provider in which nobody can pay it any more.
SETTLED = ("paid", "void")
#: Steps of which no attempt has an id of its own. Those of charges and refunds stand in their keys.
SAME_KEY = (PUSH, PAID_OUTSIDE, CREDIT, VOIDING)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to at the provider; empty where there was nothing to do."""

    external_id: str = ""
    url: str = ""


def take(gateway: PaymentGateway, work: Work) -> Outcome:
    """Take a step that was claimed. Raises `OutcomeUnknown`, `Later`, `Declined`, `GatewayRefused`."""
    return STEPS[work.step.step](gateway, work)


def _push(gateway: PaymentGateway, work: Work) -> Outcome:
    ensure_customer(gateway, work.account)
    pushed = gateway.push_invoice(draft_of(work), _timing(work))
    return Outcome(pushed.external_id, pushed.payment_url)


def _charge(gateway: PaymentGateway, work: Work) -> Outcome:
    step = work.step
    if not is_open(work):
        return Outcome()
    if not step.about:
        methods = gateway.payment_methods(work.account.external_id)
        default = next((method.external_id for method in methods if method.default), "")
        if not default:
            raise Declined("no_default_method", "There is no default payment method.")
        # A repeated request has the same arguments.
        with tenant_scope(work.tenant_id):
            Collection.objects.filter(pk=step.pk).update(about=default)
        step.about = default
    return _unless_settled(gateway, work, lambda: gateway.pay(work.reference, step.about, step.attempt, _timing(work)))


def _paid_outside(gateway: PaymentGateway, work: Work) -> Outcome:
    if is_reversed(work):
        return Outcome()
    if work.due:
        return _credit(gateway, work)
    return _unless_settled(gateway, work, lambda: gateway.mark_paid(work.reference, _timing(work)))


def _credit(gateway: PaymentGateway, work: Work) -> Outcome:
    note = credit_of(work)
    return _unless_settled(gateway, work, lambda: gateway.credit_note(note, _timing(work)), is_id=True)


def _void(gateway: PaymentGateway, work: Work) -> Outcome:
    return _unless_settled(gateway, work, lambda: gateway.void(work.reference, _timing(work)))


def _give_back(gateway: PaymentGateway, work: Work) -> Outcome:
    return Outcome(gateway.refund(refund_of(work), _timing(work)))


def _unless_settled(gateway: PaymentGateway, work: Work, act: Callable[[], str], *, is_id: bool = False) -> Outcome:
    """Act on an invoice that can still be paid. Of one that was paid meanwhile the payment is read, and goes back."""
    if _settled(gateway, work):
        return Outcome()
    try:
        done = act()
    except GatewayRefused:
        if _settled(gateway, work):
            return Outcome()
        raise
    return Outcome(done if is_id else "")


def _settled(gateway: PaymentGateway, work: Work) -> bool:
    found = gateway.read_back(Lookup(Kind.INVOICE, str(work.invoice.pk), work.account.external_id))
    return found is not None and found.state in SETTLED


def _timing(work: Work) -> Timing:
    step = work.step
    return Timing(step.first_at or clock.now(), clock.now(), step.attempt - 1 if step.step in SAME_KEY else 0)


STEPS: dict[str, Callable[[PaymentGateway, Work], Outcome]] = {
    PUSH: _push,
    CHARGE: _charge,
    PAID_OUTSIDE: _paid_outside,
    CREDIT: _credit,
    GIVE_BACK: _give_back,
    VOIDING: _void,
}
