"""Pages of lists in the open scope: what stands beside the rows of a page is read in the page's own statement."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows, prepared_cursor

PAGE = "WITH page AS MATERIALIZED (SELECT id, n FROM unnest(ARRAY({})) WITH ORDINALITY AS page(id, n)) "


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
