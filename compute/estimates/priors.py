"""Sums over the runs of all tenants, for tenants without runs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from statistics import median
from typing import Any

from django.db import transaction

from compute.estimates.forecast import WORK, learnt, start_up
from compute.estimates.past_runs import COLUMNS, ended, kept, runs_of
from compute.models import RunPrior
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import all_tenants

NEWEST_OF_A_TENANT = 20
EVERYWHERE = 5_000
SINCE = timedelta(days=30)


def learn_everywhere() -> int:
    """Sum up the runs of all tenants by family and device class; return the number of sums written.

    At most the newest twenty runs of each tenant count, and only sums are stored.
    """
    with transaction.atomic(), all_tenants("sums over every tenant's runs, without ids"):
        rows = list(ended().filter(ended_at__gt=DatabaseNow() - SINCE).values("tenant_id", *COLUMNS)[:EVERYWHERE])
    written = 0
    keyed = sorted(rows, key=lambda row: (row["family"], row["device_class"]))
    for (family, device_class), group in groupby(keyed, key=lambda row: (row["family"], row["device_class"])):
        fair = _fair(list(group))
        usual = median(row["start_s"] for row in fair)
        work, start = learnt(runs_of(fair), WORK, start_up(usual))
        held = kept(fair)
        learnt_now = {
            "work_mean": work.mean, "work_variance": work.variance, "start_mean": start.mean,
            "start_variance": start.variance, "runs": len(fair), "within": held.within, "promised": held.of,
            "learnt_at": DatabaseNow(),
        }  # fmt: skip
        known = RunPrior.objects.filter(family=family, device_class=device_class)
        if not known.update(**learnt_now):
            RunPrior.objects.bulk_create(
                [RunPrior(family=family, device_class=device_class, **learnt_now)], ignore_conflicts=True
            )
        written += 1
    return written


def _fair(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    taken: dict[Any, int] = {}
    found = []
    for row in rows:
        taken[row["tenant_id"]] = taken.get(row["tenant_id"], 0) + 1
        if taken[row["tenant_id"]] <= NEWEST_OF_A_TENANT:
            found.append(row)
    return found
