"""Who a tenant's invoices go to: details that an operator corrects at any time, while prices and terms stay as agreed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.db.models import Q

from billing.models import Contract, Invoice
from billing.models.invoicing import DRAFT, IN_REVIEW
from billing.rating.calendar import local_day, period_of
from billing.taxes.countries import COUNTRIES, UNKNOWN
from billing.taxes.tax_ids import tax_id_fault
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Invalid, NotFound
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

DETAILS_CHANGED = AuditAction("billing.contract.details_changed")
LONGEST = {"billing_name": 200, "billing_address": 1_000, "tax_number": 40}


@dataclass(frozen=True, kw_only=True)
class BillingDetails:
    """Name, address, email, country and tax number of a customer; the last two decide the tax."""

    billing_name: str = ""
    billing_address: str = ""
    billing_email: str = ""
    tax_number: str = ""
    country: str = ""


def details_faults(given: BillingDetails) -> dict[str, list[str]]:
    """Return what is wrong with billing details, by field."""
    faults: dict[str, list[str]] = {}
    if given.billing_email:
        try:
            validate_email(given.billing_email)
        except ValidationError:
            faults["billing_email"] = ["Give an address such as bills@example.org."]
    for name, limit in LONGEST.items():
        if len(getattr(given, name)) > limit:
            faults[name] = [f"Give at most {limit} characters."]
    if fault := tax_id_fault(given.tax_number):
        faults.setdefault("tax_number", [fault])
    if given.country and given.country not in COUNTRIES:
        faults["country"] = [UNKNOWN]
    return faults


def change_details(*, operator: Operator, tenant_id: UUID, details: BillingDetails, reason: str) -> None:
    """Change to whom a tenant's invoices go: drafts follow, also of months that ended; finalised invoices stay.

    Raises NotFound for an unknown tenant, or one without a contract; Invalid for impossible details.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound
    with transaction.atomic():
        changed = _change(actor=Actor.system(tenant_id, "operator"), tenant=tenant, details=details, reason=reason)
        if changed:
            record_act(operator, DETAILS_CHANGED, target=("tenant", tenant_id, tenant.slug), reason=reason)


def lock_contracts(tenant_id: UUID) -> None:
    """Let nobody else change a tenant's contracts until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('billing.contract' || %s, 0))", [str(tenant_id)])


@operation(DETAILS_CHANGED)
def _change(*, actor: Actor, tenant: Tenant, details: BillingDetails, reason: str) -> bool:
    lock_contracts(tenant.id)
    if faults := details_faults(details):
        raise Invalid(fields=faults)
    drafts = Invoice.objects.filter(state__in=[DRAFT, IN_REVIEW]).order_by("period").values_list("period", flat=True)
    first = min([*drafts[:1], period_of(local_day(clock.now(), tenant.timezone))])
    billed = Contract.objects.filter(Q(ends_on=None) | Q(ends_on__gt=first)).order_by("-starts_on")
    latest = billed.first()
    if latest is None:
        raise NotFound
    new = asdict(details)
    if not billed.exclude(**new).exists():
        unchanged("the details are the same")
        return False
    changes = {name: [getattr(latest, name), value] for name, value in new.items() if getattr(latest, name) != value}
    billed.update(**new)
    record(DETAILS_CHANGED, actor=actor, target=latest, changes=changes, reason=reason)
    return True
