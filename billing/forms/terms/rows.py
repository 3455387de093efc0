"""Rows of the form of a contract's terms: a savings plan, or a commitment, minimum or discount for some usage.

Each row is an entry of a list of the terms as JSON. What a row cannot show, such as a term for projects, stays JSON, and so
does what follows it in its list: the order of a list counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.forms import BoundField

from billing.forms.fields import AmountField, FractionField, typed
from billing.money import minor_decimals
from billing.rating.billed.reading import read_terms

#: The list in which each kind of row stands, and how the form calls it.
KINDS = {
    "plan_month": ("savings_plans", "Savings plan, by the month"),
    "plan_hour": ("savings_plans", "Savings plan, by the hour"),
    "commitment": ("commitments", "Commitment a month"),
    "discount": ("discounts", "Discount"),
    "minimum": ("minimums", "Minimum a month"),
}
LISTS = ("savings_plans", "commitments", "discounts", "minimums")
PARTS = ("kind", "name", "amount", "percent", "meters")
MORE, MOST = 2, 30
NAMED = re.compile(r"term_(\d{1,2})_kind")
Row = Mapping[str, Any]


def number_of(data: Mapping[str, Any]) -> int:
    """Return how many rows posted data has, at most `MOST`."""
    found = [int(part[1]) for name in data if (part := NAMED.fullmatch(name))]
    return min(max(found, default=-1) + 1, MOST)


def take(rest: dict[str, Any], meters: Container[str]) -> list[dict[str, Any]]:
    """Take the entries that rows can show out of the lists of stored terms; return the rows. `meters`: those to choose from."""
    rows: list[dict[str, Any]] = []
    for listed in LISTS:
        entries = list(rest.get(listed) or [])
        while entries and len(rows) < MOST - MORE and (row := _row(listed, entries[0], meters)) is not None:
            rows.append(row)
            del entries[0]
        if entries:
            rest[listed] = entries
        else:
            rest.pop(listed, None)
    return rows


def add_fields(form: forms.Form, number: int, meters: Sequence[tuple[str, str]], currency: str) -> None:
    """Give a form the fields of so many rows."""
    kinds = [("", "–"), *((kind, title) for kind, (_, title) in KINDS.items())]
    for n in range(number):
        form.fields |= {
            f"term_{n}_kind": forms.ChoiceField(label=f"Term {n + 1}", required=False, choices=kinds),
            f"term_{n}_name": forms.CharField(label=f"Name of term {n + 1}", required=False, max_length=60),
            f"term_{n}_amount": AmountField(
                label=f"Amount of term {n + 1}", required=False, decimals=minor_decimals(currency)
            ),
            f"term_{n}_percent": FractionField(label=f"Per cent of term {n + 1}", required=False),
            f"term_{n}_meters": forms.MultipleChoiceField(
                label=f"Usage of term {n + 1}",
                required=False,
                choices=meters,
                widget=forms.CheckboxSelectMultiple,
            ),
        }


def shown(form: forms.Form, number: int) -> Iterator[list[BoundField]]:
    """Yield the fields of each row."""
    for n in range(number):
        yield [form[f"term_{n}_{part}"] for part in PARTS]


def initial(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the fields of rows show."""
    found = {f"term_{n}_{part}": row.get(part) for n, row in enumerate(rows) for part in PARTS}
    return found | {f"term_{n}_amount": typed(Decimal(row["amount"])) for n, row in enumerate(rows) if "amount" in row}


def check(form: forms.Form, number: int) -> None:
    """Put what is missing in a row beside its field."""
    for n in range(number):
        row = _given(form, n)
        kind, amount, percent = row["kind"], row["amount"], row["percent"]
        if not kind:
            if any(row[part] not in (None, "", []) for part in PARTS):
                form.add_error(f"term_{n}_kind", "Choose what this row agrees, or empty it.")
            continue
        if kind == "discount" and (amount is None) == (percent is None):
            form.add_error(f"term_{n}_percent", "Give either a percentage or an amount.")
        elif kind != "discount" and amount is None and f"term_{n}_amount" not in form.errors:
            form.add_error(f"term_{n}_amount", "Give an amount.")
        if kind.startswith("plan") and percent is None and f"term_{n}_percent" not in form.errors:
            form.add_error(f"term_{n}_percent", "Give the discount on the usage that it pays for.")
        if kind in ("commitment", "minimum") and percent is not None:
            form.add_error(f"term_{n}_percent", "This term has no percentage.")


def entries(form: forms.Form, number: int) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the list, the row and the entry of each row of a valid form."""
    for n in range(number):
        row = _given(form, n)
        if row["kind"]:
            row["name"] = row["name"] or f"{row['kind'].replace('_', '-')}-{n + 1}"
            yield KINDS[row["kind"]][0], n, _entry(row)


def _given(form: forms.Form, n: int) -> dict[str, Any]:
    return {part: form.cleaned_data.get(f"term_{n}_{part}") for part in PARTS}


def _entry(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": row["name"]}
    if row["kind"].startswith("plan"):
        entry["per"] = row["kind"].removeprefix("plan_")
    for part in ("amount", "percent"):
        if row.get(part) is not None:
            entry[part] = format(Decimal(row[part]).normalize(), "f")
    if row.get("meters"):
        entry["meters"] = list(row["meters"])
    return entry


def _row(listed: str, entry: Any, meters: Container[str]) -> dict[str, Any] | None:
    """Return the row of an entry; None if no row says the same."""
    if not isinstance(entry, Mapping):
        return None
    kind = f"plan_{entry.get('per')}" if listed == "savings_plans" else listed.removesuffix("s")
    row = {"kind": kind, "name": entry.get("key"), **{part: entry[part] for part in PARTS if part in entry}}
    shown = kind in KINDS and all(meter in meters for meter in entry.get("meters") or ())
    return row if shown and same(listed, entry, lambda: _entry(row)) else None


def same(listed: str, entry: Mapping[str, Any], made: Callable[[], Mapping[str, Any]]) -> bool:
    """Return whether what a row makes means the same as a stored entry of a list."""
    try:
        return read_terms({"currency": "", listed: [entry]}) == read_terms({"currency": "", listed: [made()]})
    except (ArithmeticError, TypeError, ValueError):
        return False
