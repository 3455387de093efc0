"""Celery tasks of the tenants app, run on wake-ups."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import UUID

from celery import shared_task

from tenants import cleanup
from tenants.audit import checkpoints
from tenants.encryption import KeyUnavailable, platform_secrets
from tenants.events import outbox
from tenants.events.events import ExternalEvent, SlowEvent
from tenants.events.external_work import EXTERNAL_EVENTS, SLOW_EVENTS
from tenants.grants import expiry
from tenants.isolation.sweeps import sweep
from tenants.notifications import domain_records, expiring
from tenants.operators import lifecycle, tenant_metrics
from tenants.operators.glass import ending
from tenants.operators.log import log_ins
from tenants.operators.platform_events import conditions, delivering, emailing, own_events, spreading
from tenants.webhooks import retries


@shared_task(name="tenants.deliver")
def deliver(message_id: str, tenant_id: str) -> None:
    """Deliver one outbox message.

    An external event is delivered in another thread, so that a hanging server blocks no worker thread.
    """
    message, tenant = UUID(message_id), UUID(tenant_id)
    kind = outbox.kind_of(message, tenant)
    if kind is SlowEvent:
        SLOW_EVENTS.put(message, lambda: outbox.deliver(message, tenant), share=tenant)
    elif kind is ExternalEvent:
        EXTERNAL_EVENTS.put(message, lambda: outbox.deliver(message, tenant))
    else:
        outbox.deliver(message, tenant)


@shared_task(name="tenants.housekeeping")
def purge_expired() -> None:
    """Remove expired rows and grants whose end has come, close tenants whose time is over, warn of keys that expire."""
    _each(cleanup.purge_expired, retries.remove_old, expiry.end_expired, lifecycle.close_due, expiring.warn)


@shared_task(name="tenants.checkpoints")
def sign_checkpoints() -> None:
    """Sign the heads of the audit chains that are due; operators are notified if that fails."""
    try:
        checkpoints.sign_due()
    except Exception:
        own_events.checkpoint_failed()
        raise


@shared_task(name="tenants.domains")
def read_domains() -> None:
    """Read the TXT records of proven domains again."""
    domain_records.read_again()


@shared_task(name="tenants.webhooks")
def retry_webhooks() -> None:
    """Wake the deliveries to webhooks whose next attempt is due."""
    retries.wake_due()


@shared_task(name="tenants.platform_events")
def send_platform_events() -> None:
    """Make deliveries and emails of what operators should know, and attempt those that are due, in other threads.

    The looks inside tenants that are over, and log-ins that were refused, are written down.
    """
    _each(ending.end_over, log_ins.enter, _provide, conditions.look, spreading.spread, _send)


def _provide() -> None:
    with suppress(KeyUnavailable):  # emails need no key
        platform_secrets.provide()


def _send() -> None:
    for one in spreading.due_deliveries():
        SLOW_EVENTS.put(one, partial(delivering.attempt, one), share="platform")
    for one in spreading.due_emails():
        EXTERNAL_EVENTS.put(one, partial(emailing.send, one))


@shared_task(name="tenants.digests")
def refresh_digests() -> None:
    """Refresh the tenant metrics for operators."""
    tenant_metrics.refresh()


def _each(*steps: Callable[[], object]) -> None:
    """Take all steps: one that fails holds up no other, and the task fails at its end."""
    with sweep("steps of a task") as each:
        for step in each.over(steps):
            with each(step=f"{step.__module__}.{step.__name__}"):
                step()


def wake_delivery(message_id: UUID, tenant_id: UUID) -> None:
    """Wake an ops worker to deliver a message; raises if the broker is unreachable."""
    deliver.delay(str(message_id), str(tenant_id))
