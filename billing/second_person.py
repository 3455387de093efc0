"""From which amounts finalising, voiding and crediting need a second operator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import transaction

from billing.models import Seller
from billing.money import Money, fineness_fault
from tenants import clock
from tenants.audit import AuditAction
from tenants.currencies import CURRENCIES
from tenants.errors import Conflict, Invalid
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

SECOND_PERSON_CHANGED = AuditAction("billing.second_person.changed")
WORDS = re.compile(r"\s*(\d{1,15}(?:\.\d{1,3})?)\s+([A-Z]{3})\s*")
HELP = "Amounts with tax by currency, such as 1000 EUR, 150000 JPY. In other currencies every amount needs a second operator."
MOST = Decimal(10) ** 15


class NeedsSecondPerson(Conflict):
    """Another operator must approve this. Send the request."""

    code = "needs_second_person"


class AmountChanged(Conflict):
    """The amount is no longer the one that was asked for. Decline this request, and ask again."""

    code = "amount_changed"


@dataclass(frozen=True, slots=True)
class SecondPerson:
    """Whether a second operator approves, and from which amount of a currency; from every amount of others."""

    wanted: bool = False
    amounts: Mapping[str, Decimal] = field(default_factory=dict)

    def holds(self, amount: Money) -> bool:
        """Whether an act on so much needs a second operator."""
        return self.wanted and abs(amount.amount) >= self.amounts.get(amount.currency, Decimal(0))

    @property
    def text(self) -> str:
        """The amounts as the console's form shows them."""
        return ", ".join(f"{amount.normalize():f} {currency}" for currency, amount in sorted(self.amounts.items()))


def current() -> SecondPerson:
    """Return what the seller decided."""
    wanted, amounts = Seller.objects.values_list("second_person", "second_person_from").get()
    return SecondPerson(wanted, {currency: Decimal(amount) for currency, amount in amounts.items()})


def check(amount: Money, approved: Money | None) -> None:
    """Raise NeedsSecondPerson for an act on so much that nobody `approved`, AmountChanged if another amount was."""
    if approved is None:
        if current().holds(amount):
            raise NeedsSecondPerson(amount=amount.json())
    elif approved != amount:
        raise AmountChanged(
            f"It comes to {amount.plain()} now, and {approved.plain()} was asked for. Decline it, and ask again."
        )


def change(*, operator: Operator, rule: SecondPerson, reason: str) -> None:
    """Change from which amounts a second operator approves, at once. Raises Invalid."""
    operator.require("seller.manage")
    reason = check_reason(reason)
    amounts = {currency: str(amount) for currency, amount in checked(rule.amounts).items()}
    with transaction.atomic():
        Seller.objects.update(second_person=rule.wanted, second_person_from=amounts, changed_at=clock.DatabaseNow())
        said = f"from {rule.text or 'every amount'}" if rule.wanted else "no second operator"
        record_act(operator, SECOND_PERSON_CHANGED, target=("seller", "seller", said), reason=reason)


def checked(amounts: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    """Return amounts that hold. Raises Invalid."""
    for currency, amount in amounts.items():
        known = currency in CURRENCIES and amount.is_finite() and 0 <= amount < MOST
        if not known or fineness_fault(amount, currency):
            raise Invalid(fields={"second_person_from": [HELP]})
    return amounts


def from_text(text: str) -> Mapping[str, Decimal]:
    """Read amounts as the form writes them; empty text has none. Raises Invalid."""
    if not text.strip():
        return {}
    found = [WORDS.fullmatch(part) for part in text.split(",")]
    amounts = {one[2]: Decimal(one[1]) for one in found if one}
    if len(amounts) != len(found):
        raise Invalid(fields={"second_person_from": [HELP]})
    return checked(amounts)
