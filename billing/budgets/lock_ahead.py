"""Lock all counters that several steps of one transaction move, in one statement: locked one by one they could deadlock."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from uuid import UUID

from django.db import connection

from billing.budgets.counters import ENSURE, FROM, STARTS, Work
from billing.models import Hold

LOCK = f"""
SELECT c.id {FROM} WHERE c.tenant_id = %(tenant)s AND (c.period = ANY({STARTS}) OR c.id IN (
  SELECT s.counter_id FROM billing_holdshare s WHERE s.tenant_id = %(tenant)s AND s.hold_id = ANY(%(holds)s::uuid[])))
ORDER BY c.id FOR NO KEY UPDATE OF c
"""  # noqa: S608


def lock_ahead(work: Work, months: Collection[date], before: Collection[date], holds: Collection[UUID]) -> None:
    """Lock holds in order of id, then every counter of these months, of the months `before`, and of the holds.

    Of `months` the counters that the budgets of `work` lack are created.
    """
    if holds:
        list(Hold.objects.select_for_update(no_key=True).filter(pk__in=holds).order_by("pk").values_list("pk"))
    with connection.cursor() as cursor:
        cursor.execute(ENSURE, work.arguments(months))
        cursor.execute(LOCK, {**work.arguments({*months, *before}), "holds": list(holds)})
