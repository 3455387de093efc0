"""Rows of the form of a contract's terms for its price models: a fixed fee, included units, packages, or prices by tiers.

A model that names single prices of a book stays JSON, and so do those after it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.forms import BoundField

from billing.forms.fields import AmountField, typed
from billing.forms.prices import Dimensions
from billing.forms.terms.rows import same
from billing.rating.billed.faults import AMOUNT_DECIMALS, MOST_TIERS, UNIT_DECIMALS

#: How the form calls each kind of row. A fee is a flat amount that covers no price.
KINDS = {
    "fee": "Fixed fee a month, besides usage",
    "flat": "Flat amount a month, instead of usage",
    "per_unit": "Included units, then the price list",
    "package": "Packages, each started one is paid",
    "graduated": "Graduated tiers: each prices its own units",
    "volume": "Volume tiers: the one reached prices all units",
}
#: The numbers that a kind needs, beside its meter.
NEEDS = {"fee": {"amount"}, "flat": {"amount"}, "per_unit": {"included"}, "package": {"size", "amount"}}
TIERED = ("graduated", "volume")
NUMBERS = {"included": "Included units", "size": "Units of a package", "amount": "Amount"}
PARTS = ("kind", "name", "meter", "dims", *NUMBERS)
TIER = {"up_to": "Up to, in units", "unit_amount": "Price of a unit", "flat_amount": "Amount besides"}
MOST, EMPTY_TIERS, MORE_TIERS = 20, 4, 2
NAMED = re.compile(r"model_(\d{1,2})_(?:kind|tier_(\d{1,2})_[a-z_]{5,11})")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """The fields of a row and of its tiers; `used`: it says something."""

    n: int
    kind: BoundField
    fields: Sequence[BoundField]
    tiers: Sequence[Sequence[BoundField]]
    used: bool


def tiers_of(data: Mapping[str, Any]) -> list[int]:
    """Return how many tiers each row of posted data has; there are as many rows as numbers."""
    found: dict[int, int] = {}
    for name in data:
        if part := NAMED.fullmatch(name):
            n, tiers = int(part[1]), 0 if part[2] is None else int(part[2]) + 1
            found[n] = max(found.get(n, 0), min(tiers, MOST_TIERS))
    return [found.get(n, 0) for n in range(min(max(found, default=-1) + 1, MOST))]


def shown_tiers(rows: Sequence[Row]) -> list[int]:
    """Return how many tiers the page shows for each of these rows and for an empty one."""
    empty = [EMPTY_TIERS] if len(rows) < MOST else []
    return [*(min(len(row["tiers"]) + MORE_TIERS, MOST_TIERS) if row["tiers"] else EMPTY_TIERS for row in rows), *empty]


def take(rest: dict[str, Any], meters: Container[str]) -> list[dict[str, Any]]:
    """Take the price models that rows can show out of stored terms; return the rows. `meters`: those to choose from."""
    entries, rows = list(rest.get("models") or []), list[dict[str, Any]]()
    while entries and len(rows) < MOST and (row := _row(entries[0], meters)) is not None:
        rows.append(row)
        del entries[0]
    rest.pop("models", None)
    if entries:
        rest["models"] = entries
    return rows


def add_fields(form: forms.Form, tiers: Sequence[int], meters: Sequence[tuple[str, str]]) -> None:
    """Give a form the fields of a row with so many tiers, for each number."""
    for n, number in enumerate(tiers):
        at = f"model_{n}"
        form.fields |= {
            f"{at}_kind": forms.ChoiceField(label="Price model", required=False, choices=[("", "–"), *KINDS.items()]),
            f"{at}_name": forms.CharField(label="Name", required=False, max_length=60),
            f"{at}_meter": forms.ChoiceField(label="Meter", required=False, choices=[("", "–"), *meters]),
            f"{at}_dims": Dimensions(
                label="Only for", required=False, help_text="Such as device_class=cpu. Empty: all usage of the meter."
            ),
        }
        for name, label in NUMBERS.items():
            form.fields[f"{at}_{name}"] = _number(label, AMOUNT_DECIMALS if name == "amount" else UNIT_DECIMALS)
        for t in range(number):
            for name, label in TIER.items():
                fine = UNIT_DECIMALS if name == "up_to" else AMOUNT_DECIMALS
                form.fields[f"{at}_tier_{t}_{name}"] = _number(f"{label}, tier {t + 1}", fine)


def initial(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the fields of rows show."""
    found: dict[str, Any] = {}
    for n, row in enumerate(rows):
        found |= {f"model_{n}_{part}": row.get(part) for part in PARTS}
        for t, tier in enumerate(row["tiers"]):
            found |= {f"model_{n}_tier_{t}_{name}": tier.get(name) for name in TIER}
    return found


def shown(form: forms.Form, tiers: Sequence[int]) -> Iterator[Shown]:
    """Yield each row with its tiers."""
    for n, number in enumerate(tiers):
        kind, *fields = [form[f"model_{n}_{part}"] for part in PARTS]
        of_tiers = [[form[f"model_{n}_tier_{t}_{name}"] for name in TIER] for t in range(number)]
        yield Shown(
            n, kind, fields, of_tiers, any(field.value() for part in ([kind], fields, *of_tiers) for field in part)
        )


def check(form: forms.Form, tiers: Sequence[int]) -> None:
    """Put what is missing in a row beside its field."""
    for n, number in enumerate(tiers):
        at, row = f"model_{n}", _given(form, n, number)
        used = row["tiers"] or any(row[part] not in (None, "", {}) for part in PARTS)
        if not row["kind"]:
            if used and f"{at}_kind" not in form.errors:
                form.add_error(f"{at}_kind", "Choose how usage is priced, or empty this price model.")
            continue
        if not row["meter"] and f"{at}_meter" not in form.errors:
            form.add_error(f"{at}_meter", "Choose the meter that it prices.")
        if row["kind"] == "fee" and row["dims"]:
            form.add_error(f"{at}_dims", "A fee is besides usage: leave this empty.")
        _check_numbers(form, at, row)
        _check_tiers(form, at, row)


def entries(form: forms.Form, tiers: Sequence[int]) -> Iterator[tuple[int, Sequence[int], dict[str, Any]]]:
    """Yield the row, the places of its tiers and the entry of each row of a valid form."""
    for n, number in enumerate(tiers):
        row = _given(form, n, number)
        if row["kind"]:
            row["name"] = row["name"] or f"{row['kind'].replace('_', '-')}-{n + 1}"
            yield n, [place for place, _ in row["tiers"]], _entry(row, [tier for _, tier in row["tiers"]])


def field_of(n: int, places: Sequence[int], part: str) -> str:
    """Return the field of a row that a fault is about, as `tiers.1.up_to` or `included`."""
    at, (name, _, rest) = f"model_{n}", part.partition(".")
    if name != "tiers":
        return f"{at}_{({'key': 'name', 'prices': 'dims'} | {one: one for one in PARTS}).get(name, 'kind')}"
    number, _, of_tier = rest.partition(".")
    if number.isdecimal() and int(number) < len(places):
        return f"{at}_tier_{places[int(number)]}_{of_tier if of_tier in TIER else 'up_to'}"
    return f"{at}_kind"


def _check_numbers(form: forms.Form, at: str, row: Row) -> None:
    needs = NEEDS.get(row["kind"], set())
    may = needs | (set() if row["kind"] in ("fee", "flat") else {"included"})
    for name, label in NUMBERS.items():
        field = f"{at}_{name}"
        if field in form.errors:
            continue
        if row[name] is None and name in needs:
            form.add_error(field, f"Give the {label.lower()}.")
        elif row[name] is not None and name not in may:
            form.add_error(field, "This price model has no such number: leave it empty.")


def _check_tiers(form: forms.Form, at: str, row: Row) -> None:
    tiered = row["kind"] in TIERED
    if tiered and not row["tiers"] and not any(name.startswith(f"{at}_tier_") for name in form.errors):
        form.add_error(f"{at}_kind", "Give at least one tier.")
    for place, tier in row["tiers"]:
        field = f"{at}_tier_{place}_unit_amount"
        if not tiered:
            form.add_error(field, "This price model has no tiers: leave them empty.")
        elif tier["unit_amount"] is None and field not in form.errors:
            form.add_error(field, "Give the price of a unit; 0 for free units.")


def _given(form: forms.Form, n: int, tiers: int) -> dict[str, Any]:
    """Return what was typed in a row; of its tiers those that are not empty, with their places."""
    data = form.cleaned_data
    all_tiers = [{name: data.get(f"model_{n}_tier_{t}_{name}") for name in TIER} for t in range(tiers)]
    typed_in = [(t, one) for t, one in enumerate(all_tiers) if any(it is not None for it in one.values())]
    return {part: data.get(f"model_{n}_{part}") for part in PARTS} | {"tiers": typed_in}


def _entry(row: Row, tiers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kind = row["kind"]
    entry: dict[str, Any] = {"key": row["name"], "meter": row["meter"], "model": "flat" if kind == "fee" else kind}
    if kind != "fee":
        entry["dims"] = row["dims"] or {}
    entry |= {name: _text(row[name]) for name in NUMBERS if row.get(name) is not None}
    if kind in TIERED:
        # The last tier has no end: what is empty is left out.
        entry["tiers"] = [{name: _text(tier[name]) for name in TIER if tier.get(name) is not None} for tier in tiers]
    return entry


def _row(entry: Any, meters: Container[str]) -> dict[str, Any] | None:
    """Return the row of a stored price model; None if no row says the same."""
    if not isinstance(entry, Mapping) or entry.get("meter") not in meters:
        return None
    kind = "fee" if entry.get("model") == "flat" and "dims" not in entry else entry.get("model")
    dims = ", ".join(f"{name}={value}" for name, value in (entry.get("dims") or {}).items())
    try:
        said = Dimensions().to_python(dims)
    except forms.ValidationError:
        return None
    tiers = [dict(tier) for tier in entry.get("tiers") or ()]
    row = {"kind": kind, "name": entry.get("key"), "meter": entry["meter"], "dims": dims, "tiers": tiers}
    row |= {name: entry[name] for name in NUMBERS if name in entry and (name != "included" or Decimal(entry[name]))}
    if kind not in KINDS or not same("models", entry, lambda: _entry({**row, "dims": said}, tiers)):
        return None
    for of in (row, *tiers):
        of |= {name: typed(Decimal(it)) for name, it in of.items() if name in (*NUMBERS, *TIER) and it is not None}
    return row


def _number(label: str, decimals: int) -> AmountField:
    return AmountField(label=label, required=False, decimals=decimals)


def _text(value: Any) -> str:
    return format(Decimal(value).normalize(), "f")
