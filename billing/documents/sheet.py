"""What is printed on a document, as strings: the input of the template `document.typ`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from billing.documents.wording import TEXT, paragraph, plain

#: A description of more characters may be split between two pages.
LONG = 160


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table: its description, and its other cells, each of which has lines."""

    title: str
    detail: str
    cells: Sequence[Sequence[str]]

    @property
    def shown(self) -> dict[str, Any]:
        """The row for the template."""
        return {**asdict(self), "long": len(self.title) + len(self.detail) > LONG}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows under a name, with their sum."""

    name: str
    rows: Sequence[Row]
    sum: str
    sum_name: str


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A document. `mark` is printed across each page. `facts` and `totals` are pairs; a total may be printed large."""

    title: str
    heading: str
    made: datetime
    seller: Mapping[str, str]
    customer: Mapping[str, str]
    facts: Sequence[tuple[str, str]]
    head: Sequence[str]
    groups: Sequence[Group]
    totals: Sequence[tuple[str, str, bool]]
    customer_of: str = "Billed to"
    mark: str = ""
    mark_text: str = ""
    nothing: str = "No lines."
    remark: str = ""
    taxes: Sequence[Sequence[str]] = ()
    notes: Sequence[tuple[str, Sequence[str]]] = field(default_factory=list)
    footer: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """The document for the template: strings, and lists of strings."""
        at = self.made.astimezone(UTC)
        return {
            "title": self.title,
            "heading": self.heading,
            "date": [at.year, at.month, at.day, at.hour, at.minute, at.second],
            "seller": address(self.seller),
            "customer": address(self.customer),
            "customer-of": self.customer_of,
            "facts": self.facts,
            "head": self.head,
            "groups": [
                {
                    "name": group.name,
                    "rows": [row.shown for row in group.rows],
                    "sum": group.sum,
                    "sum-name": group.sum_name,
                }
                for group in self.groups
            ],
            "totals": self.totals,
            "mark": self.mark,
            "mark-text": self.mark_text,
            "nothing": self.nothing,
            "remark": self.remark,
            "tax-head": ["Tax rate", "Taxable", "Tax"],
            "taxes": self.taxes,
            "notes": self.notes,
            "footer": self.footer,
        }


def address(party: Mapping[str, str]) -> list[str]:
    """Return the lines of a party: name, address, country, tax number, email."""
    tax_number, email = party.get("tax_number", ""), party.get("email", "")
    lines = [
        plain(party.get("name", "")),
        *paragraph(party.get("address", ""), TEXT),
        plain(party.get("country", "")),
        f"Tax number {plain(tax_number)}" if tax_number else "",
        plain(email),
    ]
    return [line for line in lines if line]
