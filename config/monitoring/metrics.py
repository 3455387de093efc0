"""GET /metrics: figures of the whole platform, as Prometheus text. It names no organisation.

A web process sees one organisation at a time, so an ops worker, which has the control role, collects the figures every
half minute and stores them for all web processes. The figures carry their time: if they are old, no ops worker is
running.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.monitoring import http_metrics
from config.web import proxies
from tenants.identity.authentication import bearer
from tenants.web.problems import json_problem

KEPT = "exchequer.figures"
KEPT_S = 3_600
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
JOBS = "SELECT state, count(*) FROM compute_job GROUP BY 1"
DEVICES = (
    "SELECT device_class, CASE WHEN state = 'ready' AND held > 0 THEN 'taken' ELSE state END, count(*) "
    "FROM compute_device GROUP BY 1, 2"
)
WANTED = "SELECT device_class, devices, nodes FROM compute_capacitywanted ORDER BY 1"
PLATFORM = """
SELECT exchequer_now(),
  (SELECT extract(epoch FROM exchequer_now() - min(queued_at)) FROM compute_job WHERE state = 'queued'),
  (SELECT count(*) FROM tenants_outboxmessage WHERE delivered_at IS NULL),
  (SELECT extract(epoch FROM exchequer_now() - min(created_at)) FROM tenants_outboxmessage WHERE delivered_at IS NULL),
  (SELECT coalesce(sum(n_tup_ins), 0) FROM pg_stat_user_tables WHERE relname = 'billing_usagekey')
"""
START_ERRORS = """
SELECT percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY abs(start_error_s)) FROM compute_job
WHERE start_error_s IS NOT NULL AND started_at > exchequer_now() - interval '7 days'
"""


def take() -> dict[str, Any]:
    """Collect the figures of all organisations together (control role) and store them for the web processes.

    The time of the last accepted usage is read from the database's statistics of rows inserted into the key table: it
    costs the heartbeat nothing, and is as exact as the interval of this task.
    """
    before = kept()
    with connection.cursor() as cursor:
        cursor.execute(JOBS)
        jobs = dict(cursor.fetchall())
        cursor.execute(DEVICES)
        devices = [tuple(row) for row in cursor.fetchall()]
        cursor.execute(WANTED)
        wanted = [tuple(row) for row in cursor.fetchall()]
        cursor.execute(PLATFORM)
        now, queue_age, outbox, outbox_age, keys = cursor.fetchone()
        cursor.execute(START_ERRORS)
        (start_errors,) = cursor.fetchone()
    moment = now.timestamp()
    more = keys > before.get("keys", 0)
    figures = {
        "at": moment,
        "jobs": jobs,
        "devices": devices,
        "wanted": wanted,
        "queue_age": _seconds(queue_age),
        "outbox": outbox,
        "outbox_age": _seconds(outbox_age),
        "keys": int(keys),
        "start_errors": start_errors,
        "usage_at": moment if more else before.get("usage_at"),
    }
    cache.set(KEPT, figures, KEPT_S)
    return figures


def kept() -> dict[str, Any]:
    """Return the stored figures, or empty: the web processes may write that row too."""
    found = cache.get(KEPT)
    return found if isinstance(found, dict) and _sound(found) else {}


def _sound(found: dict[str, Any]) -> bool:
    """Return whether a value has the structure that `take` stores."""
    shapes = {"at": float, "queue_age": float, "outbox_age": float, "keys": int, "outbox": int, "jobs": dict}
    return (
        all(isinstance(found.get(name), shape) for name, shape in shapes.items())
        and isinstance(found.get("usage_at"), float | None)
        and all(isinstance(number, int) for number in found["jobs"].values())
        and isinstance(found.get("start_errors"), list | None)
        and isinstance(found.get("devices"), list)
        and isinstance(found.get("wanted"), list)
        and all([*map(type, one)] == [str, int, int] for one in found["wanted"] if isinstance(one, list | tuple))
        and all([*map(type, one)] == [str, str, int] for one in found["devices"] if isinstance(one, list | tuple))
    )


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the figures to this machine itself, or to a client with EXCHEQUER_METRICS_TOKEN."""
    if not may_read(request):
        return json_problem(
            request,
            status=401,
            code="not_authenticated",
            title="Send EXCHEQUER_METRICS_TOKEN as a bearer token, or call from the machine itself.",
        )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures())
    http_metrics.add_to(registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE)


def may_read(request: HttpRequest) -> bool:
    """Return whether a request may read the figures.

    Behind a proxy, which may run on this machine, a wrong setting makes every client look local: only the token counts.
    """
    token, given = settings.EXCHEQUER.metrics_token, bearer(request)
    if token and given is not None and hmac.compare_digest(token.encode(), given.encode()):
        return True
    if settings.EXCHEQUER.effective_tls or request.META.get(proxies.BEHIND):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


class Figures(Collector):
    """The stored figures, and whether the database is reachable."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families; without a database, or figures, only what is known."""
        try:
            found = kept()
            with connection.cursor() as cursor:
                cursor.execute("SELECT exchequer_now()")
            up = 1
        except DatabaseError:
            found, up = None, 0
        yield GaugeMetricFamily("exchequer_database_up", "Whether PostgreSQL answers this process.", value=up)
        if not found:
            return
        yield _moment("exchequer_figures_taken", "When an ops worker took these figures.", found["at"])
        yield _labelled(
            "exchequer_jobs", "Jobs by state.", ["state"], [((state,), n) for state, n in found["jobs"].items()]
        )
        yield _labelled(
            "exchequer_devices",
            "Devices by class and state; taken: leased to work.",
            ["device_class", "state"],
            [((kind, state), number) for kind, state, number in found["devices"]],
        )
        for column, what in ((1, "devices"), (2, "nodes")):
            yield _labelled(
                f"exchequer_{what}_wanted",
                f"{what.capitalize()} of a class that running and waiting jobs would use now, as far as quotas let them run.",
                ["device_class"],
                [((one[0],), one[column]) for one in found["wanted"]],
            )
        plain = (
            ("exchequer_queue_oldest_seconds", "How long the job waits that waits longest.", found["queue_age"]),
            ("exchequer_outbox_open", "Events that are not delivered yet.", found["outbox"]),
            ("exchequer_outbox_oldest_seconds", "How long the oldest of them waits.", found["outbox_age"]),
        )
        for name, text, value in plain:
            yield GaugeMetricFamily(name, text, value=value)
        if found.get("start_errors"):
            family = GaugeMetricFamily(
                "exchequer_start_error_seconds",
                "How far jobs of the last week started from when they were expected to: half, and nine of ten, within.",
                labels=["quantile"],
            )
            for quantile, seconds in zip(("0.5", "0.9"), found["start_errors"], strict=True):
                family.add_metric([quantile], seconds)
            yield family
        if found["usage_at"]:
            yield _moment(
                "exchequer_usage_last_accepted", "When usage was last seen to be accepted.", found["usage_at"]
            )


def _labelled(name: str, text: str, labels: list[str], rows: list[tuple[tuple[str, ...], int]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(list(values), number)
    return family


def _moment(name: str, text: str, at: float) -> Metric:
    return GaugeMetricFamily(f"{name}_timestamp_seconds", f"{text} Seconds since 1970.", value=at)


def _seconds(value: Decimal | None) -> float:
    return max(0.0, float(value)) if value is not None else 0.0
