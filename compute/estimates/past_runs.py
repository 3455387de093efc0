"""Evidence from past runs: those of the tenant first, sums over the whole installation if it has few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery

from compute.estimates.forecast import WORK, Forecast, LogEstimate, Run, as_prior, forecast, learnt, start_up
from compute.kinds import Plan
from compute.models import Attempt, Cause, Job, JobState, RunPrior

NEWEST = 40
RECENT = 10
"""Number of ended runs for which the accuracy of ranges is reported."""

COLUMNS = ("family", "device_class", "work_key", "nominal_s", "measured_s", "start_s", "forecast", "state")


@dataclass(frozen=True, slots=True)
class Kept:
    """Of the newest `of` runs with a quoted range, `within` ended inside it."""

    within: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected run time, and the accuracy of earlier ranges."""

    forecast: Forecast
    kept: Kept


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a family of runs on a device class: the installation's prior, and the tenant's newest runs."""

    prior: RunPrior | None
    rows: Sequence[dict[str, Any]]


def evidence(family: str, device_class: str) -> Evidence:
    """Return what is known of a family on a device class, from the runs visible in the open scope."""
    if not family:
        return Evidence(None, [])
    prior = RunPrior.objects.filter(family=family, device_class=device_class).first()
    return Evidence(prior, list(ended().filter(family=family, device_class=device_class)[:NEWEST]))


def expect(plan: Plan, known: Evidence) -> Expectation:
    """Return the expected time of a planned run, from what is known of its family."""
    work, start = WORK, start_up(plan.start_s)
    runs, source = 0, "defaults"
    prior, rows = known.prior, known.rows
    if prior is not None:
        work = as_prior(LogEstimate(prior.work_mean, prior.work_variance, prior.runs, prior.runs))
        start = as_prior(LogEstimate(prior.start_mean, prior.start_variance, prior.runs, prior.runs))
        runs, source = prior.runs, "installation"
    own = runs_of(rows)
    if own:
        work, start = learnt(own, work, start, nominal_s=plan.work_s, work_key=plan.work_key)
        runs, source = len(own), "own"
    found = forecast(plan.work_s, work, start, runs=runs, source=source)
    return Expectation(found, kept(rows))


def kept(rows: Iterable[dict[str, Any]]) -> Kept:
    """Return how many of the newest successful runs stayed within their quotes."""
    promised = [row for row in rows if row["state"] == JobState.SUCCEEDED and "most_s" in row["forecast"]][:RECENT]
    inside = [row["forecast"]["least_s"] <= row["measured_s"] <= row["forecast"]["most_s"] for row in promised]
    return Kept(sum(inside), len(inside))


def ended() -> QuerySet[Job, dict[str, Any]]:
    """Return the open scope's runs to learn from, newest first: successful ones, and those cut off by their own limit.

    A cut-off run counts as if it had ended then. Runs that started more than once, or whose start-up was not measured,
    are excluded.
    """
    first = Attempt.objects.filter(job_id=OuterRef("id"), token=1).values("startup_s")[:1]
    limited = Q(state=JobState.FAILED, cause__in=(Cause.TIME_LIMIT, Cause.COST_LIMIT))
    rows = Job.objects.filter(Q(state=JobState.SUCCEEDED) | limited, ended_at__isnull=False, token=1, measured_s__gt=0)
    rows = rows.exclude(family="").filter(nominal_s__gt=0)
    measured: QuerySet[Job, dict[str, Any]] = (
        rows.annotate(start_s=Subquery(first)).filter(start_s__gt=0).values(*COLUMNS)
    )
    return measured.order_by("-ended_at")


def runs_of(rows: Sequence[dict[str, Any]]) -> list[Run]:
    """Return rows of `ended` as runs; one cut off before its expected time is excluded."""
    return [
        Run(row["work_key"], row["nominal_s"], float(row["measured_s"]), row["start_s"])
        for row in rows
        if row["state"] == JobState.SUCCEEDED or row["measured_s"] > row["forecast"].get("typical_s", 0)
    ]
