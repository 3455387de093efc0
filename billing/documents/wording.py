"""Texts of documents. Everything becomes a string here: what a tenant typed is shown, and means nothing to the typesetter."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from billing.money import Money, minor_decimals
from billing.queries.invoices import InvoiceView
from billing.queries.lines import LineRate
from billing.rating.calendar import next_period
from tenants.currencies import amount_text, exact_text

NAME, TEXT = 200, 1_000
#: Characters without a shape of their own. Some reverse what stands beside them: an amount must not depend on a name.
SHAPELESS = {"Cc", "Cf", "Cn", "Co", "Cs"}
#: A word that no line may hold gets places where it can be broken; an IBAN and an address stay whole.
LONG_WORD, PIECE = re.compile(r"\S{41,}"), re.compile(r"(\S{8})(?=\S)")


def plain(text: object, most: int = NAME) -> str:
    """Return a text on one line: at most so many characters, and none that is invisible."""
    spaced = " ".join(unicodedata.normalize("NFC", str(text)).split())
    shown = "".join(sign for sign in spaced if unicodedata.category(sign) not in SHAPELESS)
    cut = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return LONG_WORD.sub(lambda word: PIECE.sub("\\1\u200b", word[0]), cut)


def paragraph(text: str, most: int = TEXT) -> list[str]:
    """Return the lines of a text, without those that are empty."""
    lines = (plain(line, most) for line in text[: 4 * most].splitlines())
    return [line for line in lines if line][:20]


def money(amount: Money) -> str:
    """Format an amount in the currency's minor unit: €1,234.50, KWD 3.000."""
    return amount_text(amount.amount, amount.currency, minor_decimals(amount.currency))


def price(amount: Money) -> str:
    """Format a price with all of its digits."""
    return exact_text(amount.amount, amount.currency)


def rate(of: LineRate, currency: str) -> str:
    """Format the exchange rate of a line: 1 USD = 0.92 EUR from 1 March 2027, 00:00 UTC."""
    start = of.valid_from.astimezone(UTC)
    return f"1 {of.currency} = {number(of.value)} {currency} from {day(start)}, {start:%H:%M} UTC"


def number(value: Decimal) -> str:
    """Format a quantity with all of its digits."""
    whole, _, digits = f"{abs(value):,f}".partition(".")
    digits = digits.rstrip("0")
    return f"{'−' if value < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def quantity(value: Decimal, unit: str) -> list[str]:
    """Format a quantity and its unit, on a line each."""
    several = value != 1 and len(unit) > 2 and unit.isalpha() and unit.islower() and not unit.endswith("s")
    return [number(value), plain(unit, 40) + ("s" if several else "")]


def pair(name: str, value: object) -> str:
    """Format a dimension or a detail: device class: cpu."""
    return plain(f"{name.replace('_', ' ')}: {value}")


def percent(rate: Decimal) -> str:
    """Format a rate in per cent."""
    return f"{number(rate)} %"


def day(value: date) -> str:
    """Format a day: 2 April 2027."""
    return f"{value.day} {value:%B %Y}"


def month(value: date) -> str:
    """Format a month: April 2027."""
    return f"{value:%B %Y}"


def days_of(invoice: InvoiceView) -> str:
    """Format the days that an invoice covers: 1 to 31 March 2027."""
    return f"1 to {day(next_period(invoice.period) - timedelta(days=1))}"


def zone_of(invoice: InvoiceView) -> str:
    """Format the zone that these days begin and end in.

    It is read off the invoice, as the organisation may have chosen another one since.
    """
    begins, ends = (
        _offset(first, at)
        for first, at in ((invoice.period, invoice.starts_at), (next_period(invoice.period), invoice.ends_at))
    )
    return begins if begins == ends else f"{begins}, then {ends}"


def _offset(first: date, at: datetime) -> str:
    """Return the zone in which a day began at that moment."""
    minutes = (datetime.combine(first, time.min, UTC) - at) // timedelta(minutes=1)
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'−' if minutes < 0 else '+'}{hours:02}:{rest:02}"
