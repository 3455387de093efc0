"""The ISO 4217 currencies in use, each with the decimals of its minor unit, in one table. Pure."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

_TWO = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP
COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD
KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK
NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
#: Decimals of the minor unit by code: 0, 2, 3 or 4.
CURRENCIES: dict[str, int] = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
# Amounts in a currency code accepted before the table was complete are still shown.
UNKNOWN = 2
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CHF": "CHF\u00a0"}
# Stored amounts have up to 38 digits.
WIDE = Context(prec=80)


def minor_decimals(currency: str) -> int:
    """Return the decimals of the currency's minor unit."""
    return CURRENCIES.get(currency, UNKNOWN)


def money_text(amount: Decimal, currency: str, *, short: bool = False, column: bool = False) -> str:
    """Format an amount for people: minor units, but enough decimals that a small cost is not shown as zero.

    `short` keeps to minor units wherever they suffice; `column` gives every amount the same decimals: four, and two where
    the currency has none.
    """
    minor = minor_decimals(currency)
    size = abs(amount)
    whole = size == size.quantize(Decimal(1).scaleb(-minor), ROUND_HALF_EVEN, WIDE)
    seen = short and size >= Decimal(1).scaleb(-minor)
    places = minor if whole or seen or size >= 1 else max(minor, 4) if size >= Decimal("0.0001") else 6
    return amount_text(amount, currency, (max(minor, 4) if minor else 2) if column else places)


def amount_text(amount: Decimal, currency: str, places: int) -> str:
    """Format an amount for people, rounded to so many decimals: €1,234.50, CHF 3.00, \u2212$0.0301."""
    size = f"{abs(amount):,.{places}f}"
    sign = "\u2212" if amount < 0 and size.strip("0.") else ""
    return f"{sign}{SYMBOLS.get(currency, currency + chr(160))}{size}"


def exact_text(amount: Decimal, currency: str) -> str:
    """Format an amount for people with the decimals of its currency, or with all of its digits if those do not suffice."""
    digits = f"{amount:f}".partition(".")[2].rstrip("0")
    return amount_text(amount, currency, max(minor_decimals(currency), len(digits)))


def currency_fault(code: str) -> str | None:
    """Return the message for a code that is not a currency; None for a valid one."""
    return None if code in CURRENCIES else "Use a code of ISO 4217, such as EUR, USD or JPY."
