"""Pages of lists in the open scope: what stands beside the rows of a page is read in the page's own statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows, prepared_cursor

PAGE = "WITH page AS MATERIALIZED (SELECT id, n FROM unnest(ARRAY({})) WITH ORDINALITY AS page(id, n)) "


#: Of what a row is, with two texts of it.
Texts = QuerySet[Any, tuple[str, str, str]]


def rows_of_page(page: QuerySet[Any], statement: str) -> list[Any]:
    """Return what one statement reads of the rows of a page, and of what stands beside them, as named tuples.

    Django decides which rows these are, and their order. The statement reads their ids from `page`, with columns `id` and
    `n`, the place in that order; each `%s` in it is the tenant of the open scope. JSON comes as text.
    """
    try:
        ids, values = page.values("id").query.sql_with_params()
    except EmptyResultSet:
        return []
    with prepared_cursor() as cursor:
        cursor.execute(PAGE.format(ids) + statement, [*values, *[current_tenant_id()] * statement.count("%s")])
        return named_rows(cursor)


def as_texts(what: str, rows: QuerySet[Any], key: str | Combinable, text: str | Combinable | None = None) -> Texts:
    """Return a column or two of rows as texts, beside `what` they are: small reads of several tables, for `read_together`."""
    columns = (Cast(one, TextField()) for one in (key, text or Value("")))
    return rows.order_by().values_list(Value(what, TextField()), *columns)


def read_together(reads: Sequence[Texts]) -> dict[str, list[tuple[str, str]]]:
    """Return the texts of all reads by what they are, in the order of the reads; in one statement."""
    found: dict[str, list[tuple[str, str]]] = {}
    if reads:
        first, *others = reads
        for what, key, text in first.union(*others, all=True) if others else first:
            found.setdefault(what, []).append((key, text))
    return found
