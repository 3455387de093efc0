"""Celery tasks of compute (wake-ups), and the start and stop of a node's worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.concurrency.thread import TaskPool
from celery.signals import celeryd_after_setup, worker_shutting_down
from django.conf import settings

from compute import limits, retention
from compute.agent.runtime import Runtime
from compute.estimates import priors
from compute.idle import watch
from compute.jobs import kept_launches

_runtime: Runtime | None = None


def queue_of(node: str) -> str:
    """Return the name of a node's queue."""
    return f"node.{node}"


@shared_task(name="compute.run_attempt")
def run_attempt(tenant_id: str, attempt_id: str, token: int) -> None:
    """Run one attempt if it is still there to be claimed by this node."""
    if _runtime is not None:
        _runtime.run(UUID(tenant_id), UUID(attempt_id), token)


@shared_task(name="compute.call_node")
def call_node() -> None:
    """Answer a ping: this node left a wake-up unanswered and gets no work until it answers."""
    if _runtime is not None:
        _runtime.answer()


@shared_task(name="compute.retention")
def purge_expired() -> None:
    """Drop expired samples, log lines and metrics."""
    retention.purge_expired()


@shared_task(name="compute.watch_idle")
def watch_idle() -> int:
    """Warn of idle devices, and stop work whose grace is over. Scheduled every minute."""
    return watch.watch()


@shared_task(name="compute.learn_runs")
def learn_runs() -> None:
    """Sum up the runs of all tenants. Scheduled every half hour."""
    priors.learn_everywhere()


@shared_task(name="compute.kept_launches")
def follow_requests() -> int:
    """Cancel kept launches whose request expired, and follow answers whose event was lost. Scheduled every minute."""
    return kept_launches.sweep()


@celeryd_after_setup.connect
def open_node(instance: Any, **_: Any) -> None:
    """Register this node before its worker takes messages; no-op for the ops worker, which serves no node."""
    global _runtime
    name = settings.EXCHEQUER.effective_node_id
    if queue_of(name) in instance.app.amqp.queues.consume_from:
        _runtime = Runtime(name)
        make_room(instance, slots=_runtime.start() * limits.MOST_PARTS + 1)


def make_room(worker: Any, slots: int) -> None:
    """Size the worker's thread pool for as many attempts as devices may have parts, and one that is ending.

    Only here, before the pool takes its first message, is the number of devices known, GPUs included. A thread starts when
    it is needed.
    """
    pool: Any = worker.pool
    if isinstance(worker.pool, TaskPool) and pool.limit < slots:
        pool.executor.shutdown(wait=False)
        pool.executor = ThreadPoolExecutor(max_workers=slots)
        pool.limit = worker.concurrency = slots


@worker_shutting_down.connect
def close_node(**_: Any) -> None:
    """Stop attempts with a checkpoint when the worker is asked to end."""
    if _runtime is not None:
        _runtime.shut_down()
