"""Queries of the compute app: frozen rows, in the open scope."""

from compute.queries.capacity import class_title, device_classes, devices, expected_wait_s
from compute.queries.device_hours import Utilisation, utilisation
from compute.queries.job_limits import LimitAfter, limits_for
from compute.queries.jobs import (
    SORTS,
    attempts,
    counts_by_state,
    digest,
    job_detail,
    job_list,
    job_names,
    last_log_lines,
    logs_after,
    metrics,
    project_figures,
    readable_sort,
)
from compute.queries.quota_what_if import (
    QuotaSimulation,
    Wanted,
    WantedCeiling,
    ready_classes,
    simulate_ceiling,
    simulate_quotas,
)
from compute.queries.rows import (
    AttemptRow,
    ClassRow,
    DeviceRow,
    JobDetail,
    JobFilter,
    JobRow,
    LogLine,
    MetricPoint,
)
from compute.queries.spot import SpotOffer, beside_on_demand

__all__ = [
    "SORTS",
    "AttemptRow",
    "ClassRow",
    "DeviceRow",
    "JobDetail",
    "JobFilter",
    "JobRow",
    "LimitAfter",
    "LogLine",
    "MetricPoint",
    "QuotaSimulation",
    "SpotOffer",
    "Utilisation",
    "Wanted",
    "WantedCeiling",
    "attempts",
    "beside_on_demand",
    "class_title",
    "counts_by_state",
    "device_classes",
    "devices",
    "digest",
    "expected_wait_s",
    "job_detail",
    "job_list",
    "job_names",
    "last_log_lines",
    "limits_for",
    "logs_after",
    "metrics",
    "project_figures",
    "readable_sort",
    "ready_classes",
    "simulate_ceiling",
    "simulate_quotas",
    "utilisation",
]
