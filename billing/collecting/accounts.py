"""The tenant's account at the payment provider."""

from __future__ import annotations

from billing.models import PaymentAccount
from billing.payments.gateway import PaymentGateway
from billing.payments.requests import Payer, Timing
from tenants import clock
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Tenant
from tenants.rights import held


def account_of(name: str = "", email: str = "") -> PaymentAccount:
    """Return the account of the open scope's tenant, with what its first request states stored before it is sent.

    Without a name it is the tenant's; without an address that of somebody who manages invoices.
    """
    account, _ = PaymentAccount.objects.get_or_create()
    if account.first_at is None:
        name = name or Tenant.objects.values_list("name", flat=True).get(pk=current_tenant_id())
        PaymentAccount.objects.filter(pk=account.pk, first_at=None).update(
            name=name[:200], email=email or _finance_address(), first_at=DatabaseNow()
        )
        account.refresh_from_db()
    return account


def ensure_customer(gateway: PaymentGateway, account: PaymentAccount) -> None:
    """Make the tenant's customer at the provider if there is none. Call it with no transaction open."""
    if account.external_id:
        return
    payer = Payer(account.tenant_id, account.name, account.email)
    account.external_id = gateway.ensure_customer(payer, Timing(account.first_at or clock.now(), clock.now()))
    with tenant_scope(account.tenant_id):
        PaymentAccount.objects.filter(pk=account.pk).update(external_id=account.external_id)


def _finance_address() -> str:
    members = held.holding("invoices.manage").filter(user__is_active=True).order_by("id")
    return members.values_list("user__email", flat=True).first() or ""
