"""What stands on the document of a statement of account."""

from __future__ import annotations

from datetime import datetime

from billing.documents import wording
from billing.documents.groups import MOST_ROWS
from billing.documents.sheet import Group, Row, Sheet
from billing.documents.wording import money, plain
from billing.invoices.parties import Party
from billing.queries.owed.statements import Entry, Statement


def statement_sheet(shown: Statement, *, seller: Party, customer: Party, at: datetime) -> Sheet:
    """Return the document of a statement; one with very many entries shows its balances, and says where they are."""
    entries = shown.entries if len(shown.entries) <= MOST_ROWS else []
    remark = "" if len(entries) == len(shown.entries) else "The entries are in the CSV file of this statement."
    group = Group(
        name=f"Opening balance on {wording.day(shown.starts_on)}: {money(shown.opening)}",
        rows=[_row(one) for one in entries],
        sum=money(shown.closing),
        sum_name="Closing balance",
    )
    return Sheet(
        title="Statement of account",
        heading="Statement",
        customer_of="Account of",
        made=at,
        seller=seller.stored(),
        customer=customer.stored(),
        facts=[
            ("From", wording.day(shown.starts_on)),
            ("To", wording.day(shown.ends_on)),
            ("Time zone", plain(shown.zone)),
            ("Currency", shown.opening.currency),
        ],
        head=("Entry", "Amount", "Balance"),
        groups=[group],
        totals=[
            ("Opening balance", money(shown.opening), False),
            ("Closing balance", money(shown.closing), True),
        ],
        remark=remark,
        footer="Statement of account",
    )


def _row(one: Entry) -> Row:
    title = f"{wording.day(one.day)}: {one.kind} {plain(one.number)}"
    return Row(title=title, detail=plain(one.detail, 200), cells=[[money(one.amount)], [money(one.balance)]])
