"""The currency of each local day: that of the contract, which changes only with a month. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, Protocol

from billing.money import EXACT, computed


def changes(tenant: str) -> str:
    """Return the SQL of a tenant's changes, as `Currencies.read` takes them; `tenant`: its id, as an expression."""
    return f"""(SELECT coalesce(json_agg(json_build_array(k.starts_on, k.currency_before, k.currency, k.restating_rate::text)
    ORDER BY k.starts_on), '[]') FROM billing_contract k WHERE k.tenant_id = {tenant} AND k.currency_before <> '')"""  # noqa: S608


def column(parts: Sequence[tuple[date, date, str]], day: str, arguments: dict[str, Any]) -> str:
    """Return the SQL of the currency of a column of days within these parts, and add its arguments."""
    whens = []
    for number, (_, until, currency) in enumerate(parts):
        arguments |= {f"until{number}": until, f"paid{number}": currency}
        whens.append(f"WHEN {day} < %(until{number})s THEN %(paid{number})s::text")
    return f"CASE {' '.join(whens)} END" if len(parts) > 1 else "%(paid0)s::text"


def paid_in(day: str, tenant: str = "%s") -> str:
    """Return the SQL of the currency of a column of days, in a statement that reads the changes, too; `tenant`: its value.

    What is read of contracts is read once for the statement, not for each row.
    """
    before, last, starts = (
        f"SELECT {name} FROM billing_contract WHERE tenant_id = {tenant} AND currency_before <> '' ORDER BY starts_on"  # noqa: S608
        for name in ("currency_before", "currency", "starts_on")
    )
    own = f"SELECT currency FROM tenants_tenant WHERE id = {tenant}"  # noqa: S608
    known = f"SELECT ARRAY({before}) || coalesce(({last} DESC LIMIT 1), ({own}))"
    return f"(({known}))[1 + width_bucket({day}, ARRAY({starts}))]"


@dataclass(frozen=True, slots=True)
class Change:
    """From the local day `on`, the first of a month, a tenant pays in `after` instead of `before`.

    `rate`: how much of `after` one unit of `before` is worth where an amount is restated.
    """

    on: date
    before: str
    after: str
    rate: Decimal


class Charged(Protocol):
    """What has an amount in a currency."""

    amount: Decimal

    @property
    def currency(self) -> str:
        """The currency of the amount."""


@dataclass(frozen=True, slots=True)
class Currencies:
    """The currency of a tenant that never changed it, and its changes in order, also one to come."""

    own: str
    changes: Sequence[Change] = ()

    @classmethod
    def read(cls, own: str, changes: Iterable[Sequence[Any]]) -> Currencies:
        """Return what the database gives for `changes`."""
        read = (Change(date.fromisoformat(on), before, after, Decimal(rate)) for on, before, after, rate in changes)
        return cls(own, tuple(read))

    def of(self, day: date) -> str:
        """Return the currency of a local day."""
        found = self.changes[0].before if self.changes else self.own
        for change in self.changes:
            if change.on > day:
                break
            found = change.after
        return found

    def restated(self, amount: Decimal, stated: str, wanted: str) -> Decimal:
        """Return an amount in another currency, by the rates of the changes between the two.

        Raises ValueError if no change leads from one to the other.
        """
        found, at = amount, stated
        for change in self.changes if wanted != stated else ():
            if change.before == at:
                found, at = computed(EXACT.multiply(found, change.rate)), change.after
                if at == wanted:
                    return found
        found, at = amount, stated
        for change in reversed(self.changes) if wanted != stated else ():
            if change.after == at:
                found, at = computed(EXACT.divide(found, change.rate)), change.before
                if at == wanted:
                    return found
        if stated == wanted:
            return amount
        raise ValueError(f"no contract changed from {stated} to {wanted}")

    def worth(self, charged: Iterable[Charged], wanted: str) -> Decimal:
        """Return the sum of amounts, those in other currencies restated."""
        if not self.changes:
            return sum((one.amount for one in charged), Decimal(0))
        return sum((self.restated(one.amount, one.currency, wanted) for one in charged), Decimal(0))

    def within(self, first: date, end: date) -> list[tuple[date, date, str]]:
        """Return the parts of `[first, end)` that have one currency each, with it, in order."""
        cuts = [first, *(change.on for change in self.changes if first < change.on < end), end]
        return [(start, stop, self.of(start)) for start, stop in pairwise(cuts)]

    def since(self, day: date) -> date:
        """Return from which day on the currency of `day` has been that of every day until it."""
        return max((change.on for change in self.changes if change.on <= day), default=date.min)


#: Of nobody: what is not read yet.
UNKNOWN = Currencies("")
