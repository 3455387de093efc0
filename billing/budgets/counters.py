"""Counters of budgets: locked in one order, moved only by conditional UPDATEs under a CHECK."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.events import BudgetThresholdReached
from billing.ledger.ledger import LedgerAccount
from billing.models.budgets import NOTIFY, STOP_RUNNING
from billing.money import Money
from billing.rating.calendar import LAST_DAY, span_start, span_starts
from tenants.errors import ExchequerError
from tenants.events.events import publish
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor, rows_as


class BudgetExceeded(ExchequerError):
    """The budget has no headroom for this. Request less, wait for running work to end, or have the budget raised."""

    code = "budget_exceeded"
    status = 402


@dataclass(frozen=True, slots=True)
class Counter:
    """One period of a budget as read under its row lock. `length`: month, quarter or year; `period`: its first day."""

    id: UUID
    budget_id: UUID
    project_id: UUID | None
    tag_key: str
    tag_value: str
    person: UUID | None
    length: str
    period: date
    limit: Decimal
    at_limit: str
    alerts: Sequence[int]
    held: Decimal
    spent: Decimal
    unheld: Decimal
    currency: str

    @property
    def enforced(self) -> bool:
        """Whether the budget refuses, rather than only notifies."""
        return self.at_limit != NOTIFY

    @property
    def headroom(self) -> Decimal:
        """What may still be held or spent."""
        return max(self.limit - self.held - self.spent - self.unheld, Decimal(0))

    @property
    def running_headroom(self) -> Decimal | None:
        """What running work may still use up; None if the budget does not stop it."""
        if self.at_limit != STOP_RUNNING:
            return None
        return max(self.limit - self.spent - self.unheld, Decimal(0))

    def covers(self, month: date) -> bool:
        """Return whether the month lies in its period."""
        return span_start(month, self.length) == self.period

    def concerns(self, project_id: UUID, tags: Mapping[str, str], person: UUID | None = None) -> bool:
        """Return whether the budget counts a project's spending on a person's work with these tags."""
        if self.tag_key:
            return tags.get(self.tag_key) == self.tag_value
        if self.person:
            return self.person == person
        return self.project_id is None or self.project_id == project_id

    @property
    def of(self) -> str:
        """Description of the budget's scope."""
        if self.tag_key:
            return f"the tag {self.tag_key}={self.tag_value}"
        return "this project" if self.project_id else "this person" if self.person else "this organisation"

    @property
    def ledger_account(self) -> LedgerAccount:
        """The counter's accounts in the ledger."""
        return LedgerAccount("counter", self.id)


@dataclass(frozen=True, slots=True)
class Dated:
    """A counter with its budget's lifetime. `opened_with_usage`: it started with its scope's earlier spending."""

    counter: Counter
    created_at: datetime
    closed_at: datetime | None
    opened_with_usage: bool


COLUMNS = 'c.id, c.budget_id, b.project_id, b.tag_key, b.tag_value, b.person, b.period AS length, c.period, c."limit", c.at_limit, b.alerts, c.held, c.spent, c.unheld, c.currency'
FROM = "FROM billing_budgetperiod c JOIN billing_budget b ON b.tenant_id = c.tenant_id AND b.id = c.budget_id"
STARTS = "CASE b.period WHEN 'month' THEN %(month)s::date[] WHEN 'quarter' THEN %(quarter)s::date[] ELSE %(year)s::date[] END"
IN_SCOPE = (
    "b.tenant_id = %(tenant)s AND b.closed_at IS NULL "
    "AND (b.project_id IS NULL OR b.project_id = ANY(%(projects)s::uuid[])) "
    "AND (b.tag_key = '' OR b.tag_key || '=' || b.tag_value = ANY(%(tags)s::text[])) "
    "AND (b.person IS NULL OR b.person = ANY(%(people)s::uuid[]))"
)
# A budget limits a period in the currency of its last day: what it is stated in, or restated by the contract that changed that.
ENSURE = f"""
WITH missing AS MATERIALIZED (
  SELECT b.*, m.period AS start, {LAST_DAY} AS last FROM billing_budget b CROSS JOIN LATERAL unnest({STARTS}) AS m(period) WHERE {IN_SCOPE}
  AND NOT EXISTS (SELECT FROM billing_budgetperiod c WHERE c.tenant_id = b.tenant_id AND c.budget_id = b.id AND c.period = m.period)
), stated AS (
  SELECT m.*, c.paid_in, billing_restated(m.tenant_id, m.amount, m.currency, c.paid_in) AS "limit"
  FROM missing m CROSS JOIN LATERAL (SELECT billing_currency(m.tenant_id, m.last) AS paid_in OFFSET 0) c
)
INSERT INTO billing_budgetperiod (id, tenant_id, budget_id, period, currency, "limit", at_limit, ceiling, held, spent, unheld)
SELECT gen_random_uuid(), tenant_id, id, start, paid_in, "limit", at_limit, CASE WHEN at_limit <> '{NOTIFY}' THEN "limit" END, 0, 0, 0
FROM stated WHERE "limit" IS NOT NULL
ON CONFLICT (tenant_id, budget_id, period) DO NOTHING
"""  # noqa: S608
LOCK_SCOPE = (
    f"SELECT {COLUMNS} {FROM} WHERE {IN_SCOPE} AND c.period = ANY({STARTS}) ORDER BY c.id FOR NO KEY UPDATE OF c"
)
LOCK_HOLDS = (
    f"SELECT {COLUMNS} {FROM} WHERE c.tenant_id = %(tenant)s AND (c.id IN "  # noqa: S608
    "(SELECT s.counter_id FROM billing_holdshare s WHERE s.tenant_id = %(tenant)s AND s.hold_id = ANY(%(holds)s::uuid[])) "
    f"OR (c.period = ANY({STARTS}) AND {IN_SCOPE})) ORDER BY c.id FOR NO KEY UPDATE OF c"
)
LOCK_MONTHS = f"""
SELECT {COLUMNS}, b.created_at, b.closed_at, EXISTS (
  SELECT FROM billing_ledgerposting p JOIN billing_ledgertransaction t ON t.tenant_id = p.tenant_id AND t.id = p.transaction_id
  WHERE p.tenant_id = c.tenant_id AND p.pot = c.id AND p.account = 'spent' AND t.kind = 'open')
{FROM} WHERE c.tenant_id = %(tenant)s AND c.period = ANY({STARTS}) ORDER BY c.id FOR NO KEY UPDATE OF c
"""  # noqa: S608
# The ceiling falls with what is held and spent, down to the limit; it rises only when the limit is changed.
MOVE = """
UPDATE billing_budgetperiod SET held = held + %(held)s, spent = spent + %(spent)s, unheld = unheld + %(unheld)s,
  ceiling = CASE WHEN ceiling IS NULL THEN NULL ELSE least(ceiling, greatest("limit", held + %(held)s + spent + %(spent)s)) END
WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s)
AND (%(held)s + %(spent)s <= 0 OR ceiling IS NULL OR held + spent + unheld + %(held)s + %(spent)s <= "limit")
RETURNING id, spent + unheld
"""
SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended('billing.budgets' || %s, 0))"
EXCLUSIVE = "SELECT pg_advisory_xact_lock(hashtextextended('billing.budgets' || %s, 0))"


def lock_budget_set(*, exclusive: bool = False) -> None:
    """Lock the tenant's set of budgets to the end of the transaction; `exclusive` to change it."""
    with connection.cursor() as cursor:
        cursor.execute(EXCLUSIVE if exclusive else SHARED, [str(current_tenant_id())])


@dataclass(frozen=True, slots=True)
class Work:
    """Whose budgets apply: those of the projects, of tags given as `name=value`, of people, and the tenant's."""

    projects: Collection[UUID]
    tags: Collection[str] = ()
    people: Collection[UUID] = ()

    def joined(self, other: Work) -> Work:
        """Return both together."""
        return Work({*self.projects, *other.projects}, {*self.tags, *other.tags}, {*self.people, *other.people})

    def arguments(self, months: Iterable[date]) -> dict[str, Any]:
        """Return the arguments of the statements above."""
        return {
            "tenant": current_tenant_id(),
            "projects": list(self.projects),
            "tags": list(self.tags),
            "people": list(self.people),
            **span_starts(months),
        }


def lock_scope(work: Work, months: Collection[date], before: Collection[date] = ()) -> list[Counter]:
    """Lock the counters of the budgets that apply, of the periods of these months, in order of id.

    Missing counters are created, each in the currency of its period. Of the months `before`, those that there are.
    """
    with prepared_cursor() as cursor:
        cursor.execute(ENSURE, work.arguments(months))
        cursor.execute(LOCK_SCOPE, work.arguments([*months, *before]))
        return rows_as(Counter, cursor)


def lock_for_holds(
    holds: Collection[UUID],
    work: Work,
    onward: Collection[date] = (),
    before: Collection[date] = (),
) -> list[Counter]:
    """Lock the counters that holds lie on, and those of the months `onward` to which they are about to move.

    They are locked in order of id. Of the months `before`, in which some of their usage lies, only existing counters are
    locked.
    """
    with connection.cursor() as cursor:
        if onward:
            cursor.execute(ENSURE, work.arguments(onward))
        arguments = work.arguments([*onward, *before])
        cursor.execute(LOCK_HOLDS, arguments | {"holds": list(holds)})
        return rows_as(Counter, cursor)


def require_headroom(counters: Iterable[Counter], asked: Money) -> None:
    """Raise BudgetExceeded, naming the tightest budget, unless every enforced counter has headroom for `asked`."""
    short = [counter for counter in counters if counter.enforced and counter.headroom < asked.amount]
    if not short:
        return
    tightest = min(short, key=lambda counter: counter.headroom)
    left = Money(tightest.headroom, asked.currency)
    raise BudgetExceeded(
        f"{asked.plain()} asked, {left.plain()} left in the budget of {tightest.of}.",
        left=left.json(),
        asked=asked.json(),
        budget=str(tightest.budget_id),
    )


def apply_delta(
    counters: Sequence[Counter],
    currency: str,
    *,
    held: Decimal = Decimal(0),
    spent: Decimal = Decimal(0),
    unheld: Decimal = Decimal(0),
) -> None:
    """Move locked counters by these amounts in one conditional UPDATE.

    Raises BudgetExceeded if held + spent would pass a limit; then nothing is changed.
    """
    if not counters or not (held or spent or unheld):
        return
    ids = [counter.id for counter in counters]
    with connection.cursor() as cursor:
        cursor.execute(
            MOVE, {"held": held, "spent": spent, "unheld": unheld, "tenant": current_tenant_id(), "ids": ids}
        )
        after = dict(cursor.fetchall())
        if len(after) != len(ids):
            raise BudgetExceeded(asked=Money(held + spent, currency).json())
    for counter in counters:
        _publish(counter, after[counter.id] - spent - unheld, after[counter.id], currency)


def publish_passed(counter: Counter, currency: str) -> None:
    """Publish every threshold that a counter's spending has crossed, after a budget was created or changed."""
    _publish(counter, Decimal(0), counter.spent + counter.unheld, currency)


def _publish(counter: Counter, before: Decimal, after: Decimal, currency: str) -> None:
    passed = [percent for percent in counter.alerts if before < counter.limit * percent / 100 <= after]
    # Only the highest is reported, in whatever order the relay delivers them; the others are recorded.
    for percent in sorted(passed, reverse=True):
        publish(
            BudgetThresholdReached(
                tenant_id=current_tenant_id(),
                budget_id=counter.budget_id,
                period=counter.period.isoformat(),
                percent=percent,
                spent=after,
                limit=counter.limit,
                currency=currency,
                quiet=percent != max(passed),
            )
        )


def lock_months(months: Collection[date]) -> list[Dated]:
    """Lock the counters of these months' periods, those of closed budgets included, in order of id."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_MONTHS, Work(()).arguments(months))
        return [
            Dated(Counter(*counter), created, closed, opened_with_usage)
            for *counter, created, closed, opened_with_usage in cursor.fetchall()
        ]


def lock_these(ids: Collection[UUID]) -> list[Counter]:
    """Lock counters by id, in order of id."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} {FROM} WHERE c.tenant_id = %s AND c.id = ANY(%s::uuid[]) ORDER BY c.id FOR NO KEY UPDATE OF c",
            [current_tenant_id(), list(ids)],
        )
        return rows_as(Counter, cursor)
