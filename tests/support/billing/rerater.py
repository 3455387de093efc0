"""Compute a bill a second time, from plain dicts, with fractions and without any code of the product.

It restates the rules: a product has twelve decimals, a line is rounded once to the minor unit, half-even, and what is
shared out in minor units goes by the largest remainder. `round` of a Fraction is half-even.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

Q = Fraction
Cell = tuple[str, str]
SCALE = {"JPY": 1, "EUR": 100, "USD": 100, "KWD": 1000}
_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EU = set(_EU.split())


def c12(value: Q) -> Q:
    return Q(round(value * 10**12), 10**12)


def covers(term: dict[str, Any], cell: Cell) -> bool:
    return (not term.get("projects") or cell[0] in term["projects"]) and (
        not term.get("meters") or cell[1] in term["meters"]
    )


def shared(units: int, weights: dict[Cell, Any]) -> list[tuple[Cell, int]]:
    """Share out whole units by weight: round down, then one more each for the largest remainders."""
    cells = sorted(cell for cell in weights if weights[cell] > 0)
    exact = [Q(abs(units)) * Q(weights[cell]) / sum(Q(weights[one]) for one in cells) for cell in cells]
    parts = [int(value) for value in exact]
    rest = abs(units) - sum(parts)
    for index in sorted(range(len(cells)), key=lambda i: (parts[i] - exact[i], i))[:rest]:
        parts[index] += 1
    return [(cell, part if units > 0 else -part) for cell, part in zip(cells, parts, strict=True)]


def model_amount(model: dict[str, Any], quantity: Q, rated: Q) -> Q:
    included = Q(model.get("included", "0"))
    left = max(quantity - included, Q(0))
    if model["model"] == "per_unit":
        return c12(rated * left / quantity) if left else Q(0)
    if model["model"] == "flat":
        return Q(model["amount"])
    if model["model"] == "package":
        return c12(-(-left // Q(model["size"])) * Q(model["amount"]))
    total, start = Q(0), Q(0)
    for tier in model["tiers"]:
        if left > start:
            end = left if tier["up_to"] is None else min(left, Q(tier["up_to"]))
            units = left if model["model"] == "volume" else end - start
            step = c12(units * Q(tier["unit_amount"])) + Q(tier["flat_amount"])
            total = step if model["model"] == "volume" else total + step
        start = Q(tier["up_to"] or 0)
    return total


class Rerated:
    """A bill in minor units: its lines as (project, meter, units), its sums and what each credit gave."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case, self.terms = case, case["terms"]
        self.scale = SCALE[self.terms["currency"]]
        self.lines: list[tuple[Cell, int]] = []
        self.used: dict[str, int] = {}
        self.usage = sorted(case["usage"], key=lambda one: one["key"])
        for one in self.usage:
            self.lines.append((self.cell(one), self.cents(Q(one["amount"]))))
        self.refunds = [line for line, one in zip(self.lines, self.usage, strict=True) if one["origin"] and line[1] < 0]
        self.models()
        self.plans()
        self.shortfalls("commitments")
        self.discounts()
        self.shortfalls("minimums")
        credits = [one for one in case["credits"] if one["starts_on"] <= case["at"]]
        credits = [one for one in credits if not one["expires_on"] or case["at"] < one["expires_on"] or one.get("most")]
        credits.sort(key=lambda one: (one["priority"], one["expires_on"] or "9999-12-31", one["starts_on"], one["key"]))
        given = [one for one in credits if one["kind"] == "promotional"]
        paid = [one for one in credits if one["kind"] == "paid"]
        self.before_tax([] if self.terms.get("paid_first") else given)
        self.subtotal = sum(units for _, units in self.lines)
        gross = self.tax_lines() if case["tax"] else dict(self.nets())
        self.total = sum(gross.values())
        self.due = self.after_tax(gross, paid + given if self.terms.get("paid_first") else paid)

    def cents(self, amount: Q) -> int:
        return round(amount * self.scale)

    def cell(self, one: dict[str, Any]) -> Cell:
        return one["project"], one["meter"]

    def nets(self) -> dict[Cell, int]:
        sums: dict[Cell, int] = {}
        for cell, units in self.lines:
            sums[cell] = sums.get(cell, 0) + units
        return sums

    def models(self) -> None:
        for model in self.terms.get("models", []):
            own = [one for one in self.usage if one["price"] in model["prices"] and not one["origin"]]
            if model["model"] == "per_unit" and not Q(model.get("included", "0")):
                continue
            quantity, rated = sum(Q(one["quantity"]) for one in own), sum(Q(one["amount"]) for one in own)
            billed: dict[Cell, int] = {}
            used: dict[Cell, Q] = {}
            for one in own:
                cell = (one["project"], model["meter"])
                billed[cell] = billed.get(cell, 0) + self.cents(Q(one["amount"]))
                used[cell] = used.get(cell, Q(0)) + Q(one["quantity"])
            exact = model_amount(model, Q(quantity), Q(rated)) * self.scale - sum(billed.values())
            weights: dict[Cell, Any] = billed if exact < 0 else used
            self.lines += shared(round(exact), weights if any(weights.values()) else {("", model["meter"]): 1})

    def plans(self) -> None:
        plans = self.terms.get("savings_plans", [])
        modelled = {price for model in self.terms.get("models", []) for price in model["prices"]}
        hourly = any(plan["per"] == "hour" for plan in plans)
        own = [one for one in self.usage if not one["origin"] and one["price"] not in modelled and Q(one["amount"])]
        left = {
            one["key"]: {hour: Q(part) for hour, part in one["hours"]} if hourly else {"": Q(one["amount"])}
            for one in own
        }
        off: dict[Cell, Q] = {}
        for plan in plans:
            hours = self.terms["hours"] if plan["per"] == "hour" else 1
            self.lines.append((("", ""), self.cents(c12(Q(plan["amount"]) * hours))))
            capacity = c12(Q(plan["amount"]) / ((100 - Q(plan["percent"])) / 100))
            buckets: dict[str, list[tuple[dict[str, Any], str]]] = {}
            for one in own:
                for hour in left[one["key"]] if covers(plan, self.cell(one)) else ():
                    buckets.setdefault(hour if plan["per"] == "hour" else "", []).append((one, hour))
            covered = {one["key"]: Q(0) for one in own}
            for held in buckets.values():
                total = sum(left[one["key"]][hour] for one, hour in held)
                for one, hour in held if total else ():
                    part = min(c12(left[one["key"]][hour] * min(total, capacity) / total), left[one["key"]][hour])
                    covered[one["key"]] += part
                    left[one["key"]][hour] -= part
            before = dict(off)
            for one in own:
                billed = Q(self.cents(Q(one["amount"])), self.scale)
                part = c12(billed * covered[one["key"]] / Q(one["amount"]))
                off[self.cell(one)] = off.get(self.cell(one), Q(0)) + part
            self.lines += [(cell, self.cents(before.get(cell, Q(0))) - self.cents(off[cell])) for cell in sorted(off)]

    def shortfalls(self, name: str) -> None:
        for term in sorted(self.terms.get(name, []), key=lambda one: not one.get("meters") and not one.get("projects")):
            spent = sum(units for cell, units in self.lines if covers(term, cell))
            spent -= sum(units for cell, units in self.refunds if covers(term, cell))
            spent += Q(term.get("earlier", "0")) * self.scale
            if term.get("closes", True) and Q(term["amount"]) * self.scale > spent:
                self.lines.append((("", ""), round(Q(term["amount"]) * self.scale - spent)))

    def discounts(self) -> None:
        for term in sorted(self.terms.get("discounts", []), key=lambda one: not one.get("percent")):
            cells = {cell: net for cell, net in self.nets().items() if cell[1] and covers(term, cell)}
            base = max(sum(cells.values()), 0)
            percent = term.get("percent")
            taken = base * Q(percent) / 100 if percent else min(Q(term["amount"]) * self.scale, base)
            self.lines += shared(-round(taken), cells) if round(taken) else []

    def before_tax(self, credits: list[dict[str, Any]]) -> None:
        for credit in credits:
            cells = {cell: net for cell, net in self.nets().items() if covers(credit, cell)}
            units = min(self.worth(credit), sum(cells.values()), sum(self.nets().values()))
            if units > 0:
                self.lines += shared(-units, cells)
                self.used[credit["key"]] = units

    def worth(self, credit: dict[str, Any]) -> int:
        return int(min(Q(credit[name]) for name in ("left", "most") if credit.get(name)) * self.scale)

    def percent(self, meter: str) -> Q:
        tax, at = self.case["tax"], self.case["at"]
        seller, buyer, tax_id = tax["seller"], tax["buyer"], tax["tax_id"] or ""
        known = any(rate["country"] == buyer for rate in tax["rates"])
        reverse = seller != buyer and {seller, buyer, tax_id[:2]} <= EU and tax_id[:2] != seller
        if tax["exempt"] or reverse or (seller != buyer and not {seller, buyer} <= EU and not known):
            return Q(0)
        for product in (tax["products"].get(meter, "standard"), "standard"):
            for rate in tax["rates"]:
                in_force = rate["starts_on"] <= at and (not rate["ends_on"] or at < rate["ends_on"])
                if (rate["country"], rate["product"]) == (buyer, product) and in_force:
                    return Q(rate["percent"])
        raise LookupError(buyer)

    def tax_lines(self) -> dict[Cell, int]:
        """Return net plus tax by cell: each line has the growth of its rate's running, rounded tax."""
        gross, sums = self.nets(), {}
        for cell, units in self.lines:
            sums[self.percent(cell[1])] = sums.get(self.percent(cell[1]), 0) + units
        run = dict.fromkeys(sums, (0, 0))
        for cell, units in self.lines:
            percent = self.percent(cell[1])
            base, given = run[percent][0] + units, run[percent][1]
            tax = round(sums[percent] * percent / 100)
            reached = int((Q(tax * base, sums[percent]) + Q(1, 2)) // 1) if sums[percent] else 0
            gross[cell] += reached - given
            run[percent] = base, reached
        return gross

    def after_tax(self, gross: dict[Cell, int], credits: list[dict[str, Any]]) -> int:
        due = max(sum(gross.values()), 0)
        for credit in credits:
            cells = {cell: units for cell, units in gross.items() if covers(credit, cell)}
            units = min(self.worth(credit), sum(cells.values()), due)
            if units > 0:
                for cell, part in shared(units, cells):
                    gross[cell] -= part
                due -= units
                self.used[credit["key"]] = units
        return due
