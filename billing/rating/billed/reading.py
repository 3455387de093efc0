"""Terms as JSON, in which a contract stores them: decimals and ids are strings.

`{"currency": "EUR", "models": [{"key", "meter", "prices" or "dims", "model", "included", ...}], "savings_plans": [{"key", "per",
"amount", "percent"}], "commitments": [{"key", "amount", "earlier", "closes"}], "discounts": [{"key", "percent" or
"amount"}], "minimums": [{"key", "amount"}], "hours", "paid_first", "prepaid"}`. `model` is per_unit, flat (`amount`), package
(`size`, `amount`), graduated or volume (`tiers`: `up_to`, `unit_amount`, `flat_amount`). All but models take `meters`
and `projects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from uuid import UUID

from billing.rating.billed.price_models import Flat, Graduated, Model, Package, PerUnit, Tier, Volume
from billing.rating.billed.terms import Commitment, Discount, Minimum, Per, PriceTerms, SavingsPlan, Terms
from billing.rating.billed.usage import Scope

MODELS: dict[str, type[Model]] = {
    "per_unit": PerUnit, "flat": Flat, "graduated": Graduated, "volume": Volume, "package": Package,
}  # fmt: skip
NAMES = {model: name for name, model in MODELS.items()}
T = TypeVar("T")
LONGEST = 60
"""Digits of a number; more are refused before they are read."""


def read_terms(data: object) -> Terms:
    """Read terms from JSON. Raises ValueError, with the field and what to write; see `terms_faults` for their values."""
    given = _Fields(data, "terms")
    terms = Terms(
        currency=given.text("currency"),
        models=given.each("models", _model),
        savings_plans=given.each("savings_plans", _plan),
        commitments=given.each("commitments", _commitment),
        discounts=given.each("discounts", _discount),
        minimums=given.each("minimums", _minimum),
        hours=given.whole("hours"),
        paid_first=given.flag("paid_first", default=False),
        prepaid=given.flag("prepaid", default=False),
    )
    given.end()
    return terms


def terms_json(terms: Terms) -> dict[str, object]:
    """Return the JSON that `read_terms` reads as the same terms."""
    return {
        field.name: [_json(one) for one in value] if isinstance(value, tuple) else value
        for field in fields(terms)
        if (value := getattr(terms, field.name)) is not None
    }


def _json(term: object) -> dict[str, object]:
    """Return one term; a model and a scope lie flat in it."""
    written: dict[str, object] = {}
    for field in fields(term):  # type: ignore[arg-type]
        value = getattr(term, field.name)
        if field.name == "dims":
            written |= {} if value is None else {"dims": dict(value)}
            continue
        match value:
            case Scope() | PerUnit() | Flat() | Graduated() | Volume() | Package():
                written |= _json(value)
                if not isinstance(value, Scope):
                    written["model"] = NAMES[type(value)]
            case frozenset():
                written[field.name] = sorted(str(one) for one in value)
            case tuple():
                written[field.name] = [_json(one) for one in value]
            case Decimal():
                written[field.name] = format(value, "f")
            case Per():
                written[field.name] = value.value
            case _ if value is not None:
                written[field.name] = value
    return written


class _Fields:
    """The fields of one JSON object, each read once."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, Mapping):
            raise ValueError(f"Write an object for {where}.")
        self._left = dict(data)
        self._where = where

    def text(self, name: str) -> str:
        value = self._left.pop(name, None)
        if not isinstance(value, str):
            raise ValueError(f"Write a text for {self._where}.{name}.")
        return value

    def number(self, name: str, default: Decimal | None = None) -> Decimal:
        found = self.optional(name)
        if found is None and default is None:
            raise ValueError(f"Give {self._where}.{name} as a decimal number in quotes.")
        return found if found is not None else default or Decimal(0)

    def optional(self, name: str) -> Decimal | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        try:
            number = Decimal(value) if isinstance(value, str) and len(value) <= LONGEST else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise ValueError(f"Write {self._where}.{name} as a decimal number in quotes.")
        return number

    def whole(self, name: str) -> int | None:
        value = self._left.pop(name, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"Write a whole number for {self._where}.{name}.")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise ValueError(f"Write true or false for {self._where}.{name}.")
        return value

    def each(self, name: str, read: Callable[[_Fields], T]) -> tuple[T, ...]:
        items = []
        for index, data in enumerate(self.items(name)):
            one = _Fields(data, f"{self._where}.{name}.{index}")
            items.append(read(one))
            one.end()
        return tuple(items)

    def items(self, name: str) -> list[object]:
        value = self._left.pop(name, [])
        if not isinstance(value, list):
            raise ValueError(f"Write a list for {self._where}.{name}.")
        return value

    def texts(self, name: str) -> frozenset[str]:
        found = self.items(name)
        if not all(isinstance(one, str) for one in found):
            raise ValueError(f"Write a list of texts for {self._where}.{name}.")
        return frozenset(str(one) for one in found)

    def ids(self, name: str) -> frozenset[UUID]:
        try:
            return frozenset(UUID(one) for one in self.texts(name))
        except ValueError as fault:
            raise ValueError(f"Write a list of ids for {self._where}.{name}.") from fault

    def pairs(self, name: str) -> tuple[tuple[str, str], ...] | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
            raise ValueError(f"Write an object of texts for {self._where}.{name}.")
        return tuple(sorted(value.items()))

    def choice(self, name: str, choices: Mapping[str, object]) -> str:
        value = self._left.pop(name, None)
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"Choose {self._where}.{name} from {', '.join(choices)}.")
        return value

    def scope(self) -> Scope:
        return Scope(self.texts("meters"), self.ids("projects"))

    def end(self) -> None:
        if self._left:
            raise ValueError(f"Leave {min(map(str, self._left))[:60]} out of {self._where}: it has no such field.")


def _model(given: _Fields) -> PriceTerms:
    model: Model
    match given.choice("model", MODELS):
        case "flat":
            model = Flat(given.number("amount"))
        case "package":
            model = Package(given.number("size"), given.number("amount"))
        case "graduated":
            model = Graduated(given.each("tiers", _tier))
        case "volume":
            model = Volume(given.each("tiers", _tier))
        case _:
            model = PerUnit()
    return PriceTerms(
        given.text("key"),
        given.text("meter"),
        given.ids("prices"),
        model,
        given.number("included", Decimal(0)),
        given.pairs("dims"),
    )


def _tier(given: _Fields) -> Tier:
    return Tier(given.optional("up_to"), given.number("unit_amount"), given.number("flat_amount", Decimal(0)))


def _plan(given: _Fields) -> SavingsPlan:
    per = Per(given.choice("per", {one.value: one for one in Per}))
    return SavingsPlan(given.text("key"), per, given.number("amount"), given.number("percent"), given.scope())


def _commitment(given: _Fields) -> Commitment:
    return Commitment(
        given.text("key"),
        given.number("amount"),
        given.scope(),
        given.number("earlier", Decimal(0)),
        given.flag("closes", default=True),
    )


def _discount(given: _Fields) -> Discount:
    return Discount(given.text("key"), given.optional("percent"), given.optional("amount"), given.scope())


def _minimum(given: _Fields) -> Minimum:
    return Minimum(given.text("key"), given.number("amount"), given.scope())
