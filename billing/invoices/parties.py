"""Who sells and who buys: what an invoice keeps of both when it is finalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from billing.invoices.reminders import Step, checked
from billing.models import Contract, Seller
from billing.taxes.countries import COUNTRIES, UNKNOWN
from billing.taxes.tax_ids import tax_id_fault
from tenants import clock
from tenants.audit import AuditAction
from tenants.errors import Conflict, Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

DUNNING_CHANGED = AuditAction("billing.dunning.changed")
SELLER_CHANGED = AuditAction("billing.seller.changed")
LONGEST = {"name": 200, "address": 1_000, "country": 2, "tax_number": 40, "email": 254, "how_to_pay": 1_000}


class SellerUnknown(Conflict):
    """An invoice names who issues it. Enter the name and address of the seller in the console under Invoices first."""

    code = "seller_unknown"


@dataclass(frozen=True, kw_only=True)
class Party:
    """A side of an invoice. `how_to_pay` is the seller's alone."""

    name: str
    address: str = ""
    country: str = ""
    tax_number: str = ""
    email: str = ""
    how_to_pay: str = ""

    @property
    def may_issue(self) -> bool:
        """Whether it has what an invoice must state of its seller."""
        return bool(self.name and self.address)

    def stored(self) -> dict[str, str]:
        """Return what is kept with an invoice."""
        return {name: value for name, value in asdict(self).items() if value}


def seller() -> Party:
    """Return who issues invoices. Raises SellerUnknown until a name and an address are entered."""
    found = current_seller()
    if not found.may_issue:
        raise SellerUnknown
    return found


def current_seller() -> Party:
    """Return the seller as entered so far."""
    row = Seller.objects.get()
    return Party(**{name: getattr(row, name) for name in LONGEST})


def customer(contract: Contract | None) -> Party:
    """Return whom the open scope's tenant is billed as: what its contract says, else its name."""
    name = Tenant.objects.values_list("name", flat=True).get(pk=current_tenant_id())
    if contract is None:
        return Party(name=name)
    return Party(
        name=contract.billing_name or name,
        address=contract.billing_address,
        country=contract.country,
        tax_number=contract.tax_number,
        email=contract.billing_email,
    )


def sends_invoices() -> bool:
    """Return whether each invoice is sent by email when it is finalised."""
    return Seller.objects.filter(sends_invoices=True).exists()


def dunning_schedule() -> list[Step]:
    """Return the steps of reminding, the earliest first."""
    return [Step(one["days"], one["step"]) for one in Seller.objects.values_list("dunning", flat=True).get()]


def change_dunning(*, operator: Operator, steps: Sequence[Step], reason: str) -> None:
    """Change when unpaid invoices are reminded of, at once; steps that an invoice has done are not repeated.

    Raises Invalid.
    """
    operator.require("seller.manage")
    reason = check_reason(reason)
    schedule = [one.stored() for one in checked(steps)]
    with transaction.atomic():
        Seller.objects.update(dunning=schedule, changed_at=clock.DatabaseNow())
        record_act(operator, DUNNING_CHANGED, target=("seller", "seller", "reminders"), reason=reason)


def change_seller(*, operator: Operator, party: Party, reason: str, sends_invoices: bool = True) -> None:
    """Change who issues invoices, and whether they are sent when finalised, at once. Finalised ones keep what they name.

    Raises Invalid.
    """
    operator.require("seller.manage")
    reason = check_reason(reason)
    if faults := _faults(party):
        raise Invalid(fields=faults)
    with transaction.atomic():
        Seller.objects.update(**asdict(party), sends_invoices=sends_invoices, changed_at=clock.DatabaseNow())
        record_act(operator, SELLER_CHANGED, target=("seller", "seller", party.name), reason=reason)


def _faults(party: Party) -> dict[str, list[str]]:
    given = asdict(party)
    faults = {name: [f"Give at most {most} characters."] for name, most in LONGEST.items() if len(given[name]) > most}
    for name in ("name", "address"):
        if not given[name].strip():
            faults[name] = [f"Give the {name} that stands on invoices."]
    if party.country and party.country not in COUNTRIES:
        faults["country"] = [UNKNOWN]
    if fault := tax_id_fault(party.tax_number):
        faults.setdefault("tax_number", [fault])
    if party.email:
        try:
            validate_email(party.email)
        except ValidationError:
            faults["email"] = ["Give an address such as billing@example.org."]
    return faults
