"""The tenant's payment methods at the provider, and whether invoices are charged to the default one.

Pages show what was read last. A person's own click asks the provider at once, in no transaction; what it changes there is
read back by the ops worker too, when the provider reports it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from uuid import UUID

from billing.collecting.accounts import account_of, ensure_customer
from billing.collecting.links import NoProvider
from billing.models import PaymentAccount
from billing.money import Money
from billing.payments.chosen import payment_gateway
from billing.payments.gateway import PaymentGateway
from billing.payments.requests import CheckoutRequest, Timing
from billing.queries.calendar import tenant_today
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Invalid, NotFound
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope

METHODS_CHANGED = AuditAction("billing.payment_methods.changed")
AUTOPAY_CHANGED = AuditAction("billing.autopay.changed")


def page_to_add(*, actor: Actor, back: str) -> str:
    """Return the provider's page where a person saves a payment method; `back` is the URL that it returns to.

    Call it with no transaction open. Raises the errors of the provider.
    """
    actor.require("invoices.manage")
    gateway = payment_gateway()
    if not gateway.collects:
        raise NoProvider
    with tenant_scope(actor.tenant_id):
        account = account_of()
        currency = tenant_today().currency
    ensure_customer(gateway, account)
    _changed(actor=actor, what="added")
    now = clock.now()
    request = CheckoutRequest(
        our_id=f"method:{uuid7()}",
        tenant_id=actor.tenant_id,
        customer=account.external_id,
        purpose="method",
        amount=Money.zero(currency),
        description="",
        success_url=f"{back}?saved=1",
        cancel_url=back,
    )
    return gateway.checkout(request, Timing(now, now)).url


def choose_default(*, actor: Actor, method: str) -> None:
    """Choose the payment method for invoices. Call it with no transaction open. Raises NotFound for one of nobody."""
    _change(actor, method, "default", lambda gateway, customer: gateway.set_default_method(customer, method))


def remove(*, actor: Actor, method: str) -> None:
    """Remove a payment method. Call it with no transaction open. Raises NotFound for one of nobody."""
    _change(actor, method, "removed", lambda gateway, _: gateway.remove_method(method))


@operation(AUTOPAY_CHANGED)
def set_autopay(*, actor: Actor, wanted: bool) -> None:
    """Have invoices charged to the default payment method when they are finalised, or not. Raises Invalid without one."""
    actor.require("invoices.manage")
    account = account_of()
    if wanted and not any(one["default"] for one in account.methods):
        raise Invalid("Add a payment method first.")
    if account.autopay == wanted:
        unchanged("it is so already")
        return
    PaymentAccount.objects.filter(pk=account.pk).update(autopay=wanted)
    record(AUTOPAY_CHANGED, actor=actor, changes={"autopay": [account.autopay, wanted]})


def read_again(gateway: PaymentGateway, account_id: UUID, tenant_id: UUID) -> None:
    """Read the payment methods; the first that is saved becomes the default one. Call it with no transaction open."""
    with tenant_scope(tenant_id):
        customer = PaymentAccount.objects.values_list("external_id", flat=True).get(pk=account_id)
    found = gateway.payment_methods(customer) if customer else ()
    if found and not any(one.default for one in found):
        gateway.set_default_method(customer, found[0].external_id)
        found = gateway.payment_methods(customer)
    with tenant_scope(tenant_id):
        autopay = {} if any(one.default for one in found) else {"autopay": False}
        PaymentAccount.objects.filter(pk=account_id).update(
            methods=[asdict(one) for one in found], look_at=None, **autopay
        )


def _change(actor: Actor, method: str, what: str, act: Callable[[PaymentGateway, str], None]) -> None:
    actor.require("invoices.manage")
    with tenant_scope(actor.tenant_id):
        account = account_of()
        if not any(one["external_id"] == method for one in account.methods):
            raise NotFound
    _changed(actor=actor, what=what)
    gateway = payment_gateway()
    act(gateway, account.external_id)
    read_again(gateway, account.pk, actor.tenant_id)


@operation(METHODS_CHANGED)
def _changed(*, actor: Actor, what: str) -> None:
    """Record what is about to be done at the provider: should it fail, the entry says that it was tried."""
    record(METHODS_CHANGED, actor=actor, changes={"payment_method": [None, what]})
    PaymentAccount.objects.update(look_at=DatabaseNow())
