"""The numbers of the overview: spend against the budget, device hours, quota, failures, what needs attention.

Each block has the permission of the page that shows the same in full; a reader without it gets the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from billing.queries import WITHHELD
from billing.queries.budgets import WHOLE, BudgetStatus, budgets
from billing.queries.calendar import Today, today
from billing.queries.spend import MonthToDate, SpendRow, cost_by_day_and_project, month_to_date, span
from compute.queries import ClassRow, JobFilter, JobRow, device_classes, job_list
from dashboards.formatting import percent_text
from dashboards.ranges import Range
from dashboards.spend.charts import line_fits
from dashboards.spend.datasets import Daily, by_project, daily_of
from models_app.queries import dataset_list, endpoints_alarmed, waiting_list
from tenants.access.actor import Actor

SHOWN = 5
DAYS = 14
RECENT = timedelta(hours=24)
#: What the blocks ask for: in the whole organisation, or in any project.
OF_TENANT = ("spend.view", "budgets.view", "usage.view", "quotas.view")
OF_PROJECTS = ("jobs.view", "devices.view")


@dataclass(frozen=True)
class Notice:
    """A notice: text, next step, its page, and severity (bad, wait)."""

    tone: str
    text: str
    action: str
    page: str
    query: str = ""


@dataclass(frozen=True)
class Overview:
    """All that the overview shows. `sees`: the permissions of the blocks that are shown; all else is empty."""

    sees: frozenset[str]
    month: MonthToDate | None
    budget: BudgetStatus | None  # the whole organisation's
    tightest: BudgetStatus | None  # the project budget with the largest share spent or held
    daily: Daily
    classes: Sequence[ClassRow]
    active: Sequence[JobRow]
    recent: Sequence[JobRow]
    failed: int
    notices: Sequence[Notice]
    has_dataset: bool
    has_job: bool

    @property
    def fresh(self) -> bool:
        """Return whether nothing was ever run here, as far as the reader may know."""
        return self.jobs and not self.has_job

    @property
    def spend(self) -> bool:
        """Return whether what is spent is shown."""
        return "spend.view" in self.sees

    @property
    def usage(self) -> bool:
        """Return whether device hours are shown."""
        return "usage.view" in self.sees

    @property
    def quotas(self) -> bool:
        """Return whether the quota is shown."""
        return "quotas.view" in self.sees

    @property
    def jobs(self) -> bool:
        """Return whether jobs are shown."""
        return "jobs.view" in self.sees

    @property
    def budgets(self) -> bool:
        """Return whether budgets are shown."""
        return "budgets.view" in self.sees

    @property
    def devices(self) -> bool:
        """Return whether free devices are shown."""
        return "devices.view" in self.sees

    @property
    def budget_share(self) -> float | None:
        """The share of the budget that is spent; None without one."""
        return None if self.budget is None else min(1.0, self.budget.used_percent / 100)

    @property
    def hours(self) -> Decimal:
        """Device hours billed this month."""
        return self.month.quantity / 3600 if self.month else Decimal(0)

    @property
    def hours_before(self) -> Decimal:
        """Device hours billed in the whole month before."""
        return self.month.previous_quantity / 3600 if self.month else Decimal(0)

    @property
    def hours_by_day(self) -> list[float]:
        """Cost of each day shown, for a small line."""
        return [
            float(sum((values[n] for values in self.daily.series.values()), Decimal(0)))
            for n in range(len(self.daily.days))
        ]

    @property
    def chart(self) -> dict[str, list[float]]:
        """Return the daily cost of each project as numbers."""
        return {name: [float(value) for value in values] for name, values in self.daily.series.items()}

    @property
    def chart_days(self) -> list[str]:
        """Return the labels of the chart's days."""
        return [f"{day.day} {day:%b}" for day in self.daily.days]

    @property
    def budget_per_day(self) -> float | None:
        """Return the budget's allowance per day; None without one, or if the line would flatten the bars."""
        allowed = self.daily.budget_per_day
        return None if allowed is None or not line_fits(self.daily.series, allowed) else float(allowed)

    @property
    def chart_rows(self) -> list[tuple[str, list[float]]]:
        """Return the chart's numbers by day, without empty days."""
        rows = [(day, [values[n] for values in self.chart.values()]) for n, day in enumerate(self.chart_days)]
        return [row for row in rows if any(row[1])]

    @property
    def quota_share(self) -> float:
        """Return the used share of the quota nearest to its limit."""
        return float(self.quota.quota_in_use) / self.quota.quota_limit if self.quota and self.quota.quota_limit else 0.0

    @property
    def quota(self) -> ClassRow | None:
        """The class nearest to its limit."""
        limited = [row for row in self.classes if row.quota_limit]
        return max(limited, key=lambda row: row.quota_in_use / (row.quota_limit or 1), default=None)


def overview(actor: Actor) -> Overview:
    """Return the numbers that an actor may see, in a fixed number of queries."""
    at = today()
    sees = frozenset(one for one in OF_TENANT if actor.can(one)) | {
        one for one in OF_PROJECTS if actor.can_somewhere(one)
    }
    known = budgets() if "budgets.view" in sees else []
    tenant_wide = next((one for one in known if one.scope == WHOLE and one.length == "month"), None)
    chosen = Range("", at.day - timedelta(days=DAYS - 1), at.day + timedelta(days=1))
    failed, active, recent = _jobs(at) if "jobs.view" in sees else ([], [], [])
    costs: list[SpendRow] = []
    if "spend.view" in sees:
        # What is spent where the reader does not see into is part of the sum, and not shown by day.
        rows = cost_by_day_and_project(span(chosen.first, chosen.end, at))
        costs = [row for row in rows if row.keys["project"] != WITHHELD]
    return Overview(
        sees=sees,
        month=month_to_date() if sees & {"spend.view", "usage.view"} else None,
        budget=tenant_wide,
        tightest=max(
            (one for one in known if one.project_id is not None), key=lambda one: one.promised_percent, default=None
        ),
        daily=daily_of(by_project(costs), chosen, tenant_wide),
        classes=_classes(sees),
        active=active,
        recent=recent,
        failed=len(failed),
        notices=[*_notices(known, failed), *_of_models(actor)],
        has_dataset=actor.can_somewhere("datasets.view") and bool(dataset_list(actor, limit=1)),
        has_job=bool(recent),
    )


def _jobs(at: Today) -> tuple[list[JobRow], Sequence[JobRow], Sequence[JobRow]]:
    """Return the jobs that failed lately, those in progress, and the latest."""
    failed = job_list(JobFilter(states=("failed",)), limit=50)
    active = job_list(JobFilter(states=("running", "queued", "paused")), limit=SHOWN)[:SHOWN]
    lately = [row for row in failed if row.ended_at and at.now - row.ended_at < RECENT]
    return lately, active, job_list(limit=SHOWN)[:SHOWN]


def _classes(sees: frozenset[str]) -> Sequence[ClassRow]:
    """Return the classes of devices, with the quotas if the reader may see them."""
    rows = device_classes() if sees & {"quotas.view", "devices.view"} else []
    return rows if "quotas.view" in sees else [replace(row, quota_limit=None, quota_in_use=0) for row in rows]


def _notices(known: Sequence[BudgetStatus], failed: Sequence[JobRow]) -> list[Notice]:
    notices = []
    for one in known:
        scope = one.project_name or "the organisation"
        if one.state == "exhausted":
            notices.append(
                Notice(
                    "bad", f"The budget of {scope} has no headroom left this {one.length}.", "View budgets", "budgets"
                )
            )
        elif one.state == "alert":
            notices.append(
                Notice(
                    "wait",
                    f"The budget of {scope} is {percent_text(one.used_percent)} spent.",
                    "View budgets",
                    "budgets",
                )
            )
    if failed:
        words = "1 job failed" if len(failed) == 1 else f"{len(failed)} jobs failed"
        notices.append(Notice("bad", f"{words} in the last 24 hours.", "View failed jobs", "jobs", "?state=failed"))
    return notices


def _of_models(actor: Actor) -> list[Notice]:
    """Return the notices about models: approvals for those who may give them, endpoints with open alerts."""
    notices = []
    waiting = len(waiting_list(actor)) if actor.can_somewhere("models.approve") else 0
    if waiting:
        words = "1 model version waits" if waiting == 1 else f"{waiting} model versions wait"
        notices.append(Notice("wait", f"{words} for approval.", "Review", "models"))
    for name, number in endpoints_alarmed(actor) if actor.can_somewhere("endpoints.view") else ():
        words = "1 alert is open" if number == 1 else f"{number} alerts are open"
        notices.append(Notice("bad", f"{words} at endpoint {name}.", "View alerts", "endpoints"))
    return notices
