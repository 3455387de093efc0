"""Generated bills as plain dicts, and the product's objects made from them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from billing.money import Money, computed
from billing.rating.billed.bills import Bill, bill
from billing.rating.billed.credits import Credit, CreditKind
from billing.rating.billed.reading import read_terms
from billing.rating.billed.tax import TaxRate, TaxTerms
from billing.rating.billed.usage import Scope, UsageLine

DECIMALS = {"JPY": 0, "EUR": 2, "KWD": 3}
PROJECTS = [str(UUID(int=number)) for number in (1, 2, 3)]
#: Prices by meter. The last has no model in any generated terms.
PRICES = {str(UUID(int=100)): "seconds", str(UUID(int=101)): "seconds", str(UUID(int=102)): "requests"}
METERS = ["seconds", "requests"]
RATES = [
    dict(zip(("country", "percent", "product", "starts_on", "ends_on"), row, strict=True))
    for row in (
        ("DE", "19", "standard", "2021-01-01", None), ("DE", "7", "reduced", "2021-01-01", None),
        ("FR", "17.5", "standard", "2021-01-01", "2026-11-01"), ("FR", "20", "standard", "2026-11-01", None),
        ("CH", "8.1", "standard", "2024-01-01", None),
    )
]  # fmt: skip
HOURS = [datetime(2026, 10, 1, hour, tzinfo=UTC).isoformat() for hour in range(3)]


class Dice(random.Random):
    """Draws the parts of a case from a seed."""

    def chance(self, tenths: int) -> bool:
        """Return True in so many of ten cases."""
        return self.randrange(10) < tenths

    def decimal(self, places: int, most: int) -> str:
        """Draw a decimal from zero; half of them are quarters, so that ties and boundaries occur."""
        units = self.randint(0, most * 10**places)
        drawn = Decimal(self.randint(0, most * 4)) / 4 if self.chance(5) else Decimal(units).scaleb(-places)
        return f"{drawn:f}"

    def whole(self, currency: str, most: int) -> str:
        """Draw a positive amount of whole minor units."""
        return f"{Decimal(self.randint(1, most * 10 ** DECIMALS[currency])).scaleb(-DECIMALS[currency]):f}"

    def scope(self) -> dict[str, list[str]]:
        """Draw all usage, or that of a meter or of some projects."""
        return {
            "meters": [self.choice(METERS)] if self.chance(3) else [],
            "projects": self.sample(PROJECTS, 2) if self.chance(2) else [],
        }

    def usage(self, number: int, late: bool) -> dict[str, Any]:
        """Draw one usage line; a late one may be negative."""
        price = self.choice(list(PRICES))
        quantity, unit = Decimal(self.decimal(6, 500)), Decimal(self.decimal(12, 2))
        late = late and self.chance(2)
        if late and self.chance(5):
            quantity = -quantity
        amount = computed(quantity * unit)
        first = computed(amount * self.randint(0, 4) / 4)
        return {
            "key": f"line-{self.randrange(100)}-{number}", "project": self.choice(PROJECTS), "meter": PRICES[price],
            "price": price, "quantity": f"{quantity:f}", "unit": f"{unit:f}", "amount": f"{amount:f}",
            "listed": f"{amount if late else amount + Decimal(self.decimal(2, 1)):f}",
            "origin": "2026-09-01" if late else None,
            "hours": [[HOURS[0], f"{first:f}"], [HOURS[1], f"{amount - first:f}"]],
        }  # fmt: skip

    def model(self, key: str, price: str) -> dict[str, Any]:
        """Draw how one price is billed over the period."""
        kind = self.choice(["per_unit", "flat", "graduated", "volume", "package"])
        found: dict[str, Any] = {"key": key, "meter": PRICES[price], "prices": [price], "model": kind}
        if kind != "flat" and self.chance(5):
            found["included"] = self.decimal(6, 400)
        if kind in ("graduated", "volume"):
            ends = sorted(self.sample(range(1, 800), self.randint(0, 2)))
            found["tiers"] = [
                {"up_to": end, "unit_amount": self.decimal(6, 2), "flat_amount": self.decimal(2, 5)}
                for end in [*(str(end) for end in ends), None]
            ]
        if kind == "package":
            found["size"] = str(self.randint(1, 300))
        if kind in ("flat", "package"):
            found["amount"] = self.decimal(4, 300)
        return found

    def terms(self, currency: str) -> dict[str, Any]:
        """Draw terms of every kind; the last price never has a model."""
        priced = self.sample(list(PRICES)[:2], self.randint(0, 2))
        found: dict[str, Any] = {"currency": currency, "hours": 3, "paid_first": self.chance(3)}
        found["models"] = [self.model(f"model-{index}", price) for index, price in enumerate(priced)]
        for name, most in (("savings_plans", 3), ("commitments", 2), ("discounts", 3), ("minimums", 1)):
            found[name] = []
            for index in range(self.choice([0, 0, *range(1, most + 1)])):
                one = {"key": f"{name}-{index}", "amount": self.whole(currency, 300), **self.scope()}
                if name == "savings_plans":
                    one |= {"per": self.choice(["hour", "month"]), "percent": str(self.randint(0, 99))}
                if name == "commitments":
                    one |= {"earlier": self.decimal(2, 100), "closes": self.chance(8)}
                if name == "discounts" and self.chance(5):
                    del one["amount"]
                    one["percent"] = str(Decimal(self.randint(1, 400)) / 4)
                found[name].append(one)
        return found

    def credit(self, key: str) -> dict[str, Any]:
        """Draw a credit, which may have expired, or begin later than the bill."""
        return {
            "key": key, "kind": self.choice(["promotional", "paid"]), "left": self.decimal(4, 300),
            "starts_on": self.choice(["2026-01-01", "2026-05-01", "2026-05-01", "2026-12-01"]),
            "expires_on": self.choice([None, None, "2026-11-01", "2026-11-02", "2027-01-01"]),
            "priority": self.choice([10, 50]), **self.scope(), "most": self.choice([None, None, self.decimal(2, 100)]),
        }  # fmt: skip

    def tax(self) -> dict[str, Any]:
        """Draw a customer at home, elsewhere in the EU with and without a tax id, or outside."""
        return {
            "seller": self.choice(["DE", "DE", "DE", "CH"]), "buyer": self.choice(["DE", "FR", "CH", "US"]),
            "tax_id": self.choice([None, "DE123456789", "FR40303265045"]), "exempt": self.chance(1),
            "products": self.choice([{}, {"requests": "reduced"}]), "rates": RATES,
        }  # fmt: skip


def case(seed: int, lines: int, late: bool) -> dict[str, Any]:
    """Return all that a bill is made of."""
    dice = Dice(seed)
    currency = dice.choice(list(DECIMALS))
    return {
        "usage": [dice.usage(number, late) for number in range(lines)], "terms": dice.terms(currency), "at": "2026-11-01",
        "credits": [dice.credit(f"credit-{index}") for index in range(dice.randint(0, 3))],
        "tax": dice.tax() if dice.chance(7) else None,
    }  # fmt: skip


def cases(*, late: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Cases from seeds, because Hypothesis alone draws mostly terms that do nothing, and takes ten times as long."""
    return st.builds(case, st.integers(0, 2**64 - 1), st.integers(0, 9), st.just(late))


def billed(case: dict[str, Any]) -> Bill:
    """Return the product's bill of a case."""
    currency, tax = case["terms"]["currency"], case["tax"]
    return bill(
        [usage_line(one, currency) for one in case["usage"]],
        read_terms(case["terms"]),
        credits=[credit(one, currency) for one in case["credits"]],
        tax=tax_terms(tax) if tax else None,
        at=date.fromisoformat(case["at"]),
    )


def usage_line(one: dict[str, Any], currency: str) -> UsageLine:
    """Return the product's usage line of a dict."""
    return UsageLine(
        key=one["key"], project_id=UUID(one["project"]), meter=one["meter"], price_id=UUID(one["price"]),
        quantity=Decimal(one["quantity"]), unit_amount=Decimal(one["unit"]), amount=Money(Decimal(one["amount"]), currency),
        listed=Money(Decimal(one["listed"]), currency), origin=day(one["origin"]),
        hours=tuple((datetime.fromisoformat(hour), Decimal(part)) for hour, part in one["hours"]),
    )  # fmt: skip


def credit(one: dict[str, Any], currency: str) -> Credit:
    """Return the product's credit of a dict."""
    scope = Scope(frozenset(one["meters"]), frozenset(UUID(project) for project in one["projects"]))
    return Credit(
        one["key"], CreditKind(one["kind"]), Money(Decimal(one["left"]), currency),
        date.fromisoformat(one["starts_on"]), day(one["expires_on"]), one["priority"], scope,
        most=Money(Decimal(one["most"]), currency) if one.get("most") else None,
    )  # fmt: skip


def tax_terms(tax: dict[str, Any]) -> TaxTerms:
    """Return the product's tax terms of a dict."""
    rates = tuple(
        TaxRate(one["country"], Decimal(one["percent"]), date.fromisoformat(one["starts_on"]), day(one["ends_on"]), one["product"])
        for one in tax["rates"]
    )  # fmt: skip
    return TaxTerms(tax["seller"], tax["buyer"], rates, tax["tax_id"], tax["exempt"], products=tax["products"])


def day(text: str | None) -> date | None:
    """Return the day of an ISO date, if there is one."""
    return date.fromisoformat(text) if text else None
