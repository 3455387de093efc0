"""Money as an exact amount in one currency, and the only place where an amount is rounded.

Amounts are computed with twelve decimals (``numeric(38,12)``) and become minor units once, on an
invoice line, half-even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, localcontext

from tenants import currencies

COMPUTING_DECIMALS = 12
COMPUTING_QUANTUM = Decimal(1).scaleb(-COMPUTING_DECIMALS)
SHOWN_DECIMALS = 6
#: How many decimals the minor unit of a currency has.
minor_decimals = currencies.minor_decimals
# Wide enough for numeric(38,12) times numeric(38,12), so that no product is rounded on the way.
EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)


class CurrencyMismatch(TypeError):
    """Amounts of different currencies were added."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency; arithmetic between currencies raises CurrencyMismatch."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Decimal):
            raise TypeError("a money amount is a Decimal")
        if not self.amount.is_finite():
            raise ValueError("a money amount is finite")
        if len(self.currency) != 3 or not self.currency.isascii() or not self.currency.isupper():
            raise ValueError("a currency is three capital letters")

    def __add__(self, other: Money) -> Money:
        return Money(EXACT.add(self.amount, self._same(other)), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(EXACT.subtract(self.amount, self._same(other)), self.currency)

    def __neg__(self) -> Money:
        return Money(EXACT.minus(self.amount), self.currency)

    def __mul__(self, factor: Decimal | int) -> Money:
        if isinstance(factor, bool) or not isinstance(factor, Decimal | int):
            raise TypeError("money is multiplied by a Decimal or an int")
        return Money(computed(EXACT.multiply(self.amount, Decimal(factor))), self.currency)

    __rmul__ = __mul__

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other)

    def __bool__(self) -> bool:
        return bool(self.amount)

    def __str__(self) -> str:
        return f"{shown(self.amount)} {self.currency}"

    def _same(self, other: Money) -> Decimal:
        if not isinstance(other, Money):
            raise TypeError("money is only added to and compared with money")
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not add up")
        return other.amount

    @property
    def minor(self) -> int:
        """The amount in whole minor units (cents), rounded half-even."""
        decimals = minor_decimals(self.currency)
        return int(self.amount.scaleb(decimals, EXACT).to_integral_value(ROUND_HALF_EVEN))

    def rounded(self) -> Money:
        """Round half-even to the currency's minor unit: what an invoice line states."""
        decimals = minor_decimals(self.currency)
        return Money(Decimal(self.minor).scaleb(-decimals, EXACT), self.currency)

    def plain(self) -> str:
        """Format the amount for a sentence, as pages show it."""
        return currencies.money_text(self.amount, self.currency)

    def json(self) -> dict[str, str]:
        """Return the API's form: at least six decimals, never fewer than the amount has."""
        return {"amount": shown(self.amount), "currency": self.currency}

    def allocate(self, weights: Sequence[Decimal | int]) -> list[Money]:
        """Distribute whole minor units by weight with the largest remainder method; the parts add up exactly.

        The amount is rounded first. Weights are not negative and not all zero; else ValueError.
        """
        exact = [Decimal(weight) for weight in weights]
        if not exact or any(weight < 0 for weight in exact) or not any(exact):
            raise ValueError("weights are not negative and not all zero")
        decimals, sign = minor_decimals(self.currency), -1 if self.minor < 0 else 1
        units = abs(self.minor)
        with localcontext(EXACT):
            total = sum(exact, Decimal(0))
            floors = [int(units * weight // total) for weight in exact]
            rests = [units * weight % total for weight in exact]
        # Remainders are not divided, so that equal ones are equal: the earlier part gets the unit.
        order = sorted(range(len(exact)), key=lambda index: rests[index], reverse=True)
        for index in order[: units - sum(floors)]:
            floors[index] += 1
        return [Money(Decimal(sign * part).scaleb(-decimals, EXACT), self.currency) for part in floors]

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Return zero in `currency`."""
        return cls(Decimal(0), currency)


def fineness_fault(amount: Decimal, currency: str) -> str | None:
    """Return the message for an amount finer than the currency's minor unit; None if it is not."""
    return None if Money(amount, currency).rounded().amount == amount else coarser(currency)


def coarser(currency: str) -> str:
    """Return how fine an amount may be entered."""
    decimals = minor_decimals(currency)
    return f"Give the amount with at most {decimals} decimals." if decimals else "Give the amount without decimals."


def computed(amount: Decimal) -> Decimal:
    """Round a product to the twelve decimals of computed and stored amounts."""
    return amount.quantize(COMPUTING_QUANTUM, ROUND_HALF_EVEN, EXACT)


def computed_up(amount: Decimal) -> Decimal:
    """Round a price up to twelve decimals, so that what is held at it always suffices."""
    return amount.quantize(COMPUTING_QUANTUM, ROUND_UP, EXACT)


def shown(amount: Decimal) -> str:
    """Format an amount in plain digits with six decimals, or as many more as it needs."""
    plain = amount.normalize(EXACT)
    exponent = plain.as_tuple().exponent
    decimals = max(SHOWN_DECIMALS, -exponent if isinstance(exponent, int) else 0)
    text = format(plain, f".{decimals}f")
    return text.removeprefix("-") if not amount else text
