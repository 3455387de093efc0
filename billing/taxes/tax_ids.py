"""The form of tax ids: each country's own, with its check digits. Nobody is asked whether an id is registered."""

from __future__ import annotations

from stdnum import get_cc_module
from stdnum.exceptions import ValidationError

from billing.rating.billed.tax import EU, PREFIXES


def tax_id_fault(number: str) -> str | None:
    """Return what is wrong with a tax number; None if it can be one.

    One that begins with two letters is a tax id of the country that they name, such as FR40303265045. Any other is a
    number of a country's own, such as 12/345/67890: it has no form to check, and never leads to reverse charge.
    """
    compact = "".join(sign for sign in number.upper() if sign.isalnum())
    prefix = compact[:2]
    if not prefix.isalpha() or not prefix.isascii():
        return None
    country = PREFIXES.get(prefix, prefix)
    form = get_cc_module(country.lower(), "vat")
    if form is None:
        return f"{prefix} begins no tax id of the European Union." if country in EU else None
    try:
        form.validate(compact)
    except ValidationError:
        return (
            f"This is no tax id of {country}. Check its digits; without the country's letters it is a national number."
        )
    return None


def registered_id(number: str) -> str | None:
    """Return a tax id without spaces and signs if its form is right; None for any other number."""
    compact = "".join(sign for sign in number.upper() if sign.isalnum())
    if not compact[:2].isalpha() or tax_id_fault(compact) is not None:
        return None
    return compact
