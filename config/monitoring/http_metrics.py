"""Responses of the web server, counted for /metrics by route; a route names no organisation and no object.

Several processes serve: each counts in its own files under PROMETHEUS_MULTIPROC_DIR, and the one that is scraped adds
them up. Without that folder a process counts for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

answered = Counter("exchequer_http_requests", "Requests answered, by route and status.", ["method", "route", "status"])
waited = Histogram("exchequer_http_request_seconds", "Seconds to an answer, by route.", ["route"], buckets=BOUNDS_S)
#: What a server that is one process reports; one may add its own.
families: list[Collector] = [answered, waited]


class TrafficMiddleware:
    """Counts each response and its time, without what a view streams afterwards."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Respond and count."""
        began = time.monotonic()
        response = self.get_response(request)
        found = request.resolver_match
        route = f"/{found.route}" if found is not None else "none"
        note(
            request.method if request.method in METHODS else "other",
            route,
            response.status_code,
            time.monotonic() - began,
        )
        return response


def note(method: str, route: str, status: int, seconds: float) -> None:
    """Count one response."""
    answered.labels(method, route, status).inc()
    waited.labels(route).observe(seconds)


def add_to(registry: CollectorRegistry) -> None:
    """Register the counts of all processes of this server with `registry`."""
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:  # no folder is configured: one process
        registry.register(OwnCounts())


class OwnCounts(Collector):
    """The families of this process."""

    def collect(self) -> list[Metric]:
        """Return this process's counts."""
        return [metric for family in families for metric in family.collect()]
