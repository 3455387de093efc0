"""Celery tasks of billing: wake-ups only, idempotent."""

from __future__ import annotations

from celery import shared_task

from billing import retention
from billing.budgets import restating, unusual
from billing.collecting import sweeping
from billing.invoices import topping_up
from billing.mailing import reminding
from billing.reconciling import orders
from billing.reported.holds import expiry
from billing.reported.readings import sweeping as hourly
from billing.runs import running
from billing.usage import partitions
from billing.wallets import expiring
from tenants.isolation.sweeps import sweep


@shared_task(name="billing.ensure_partitions")
def ensure_partitions() -> int:
    """Create the coming months' partitions; scheduled daily. Without it the default partition is used."""
    return partitions.ensure_ahead()


@shared_task(name="billing.retention")
def purge_expired() -> None:
    """Remove expired quotes and released holds."""
    retention.purge_expired()


@shared_task(name="billing.expire_holds")
def expire_holds() -> int:
    """Return the money of holds for outside work that are over. Scheduled every ten seconds."""
    return expiry.expire_all()


@shared_task(name="billing.count_hours")
def count_hours() -> int:
    """Count the last values of time-weighted meters up to the last full hour. Scheduled every minute."""
    return hourly.count_hours()


@shared_task(name="billing.unusual_spend")
def unusual_spend() -> int:
    """Notify of budgets whose spending stood out yesterday. Scheduled four times a day, for every time zone."""
    return unusual.notify_all()


@shared_task(name="billing.reconcile_all")
def reconcile_all() -> None:
    """Order the reconciliation of all tenants. Scheduled once a day."""
    orders.order_all()


@shared_task(name="billing.reconcile")
def reconcile() -> int:
    """Reconcile what is ordered, and go on where a stopped worker left off. Scheduled every ten seconds."""
    return orders.carry_out()


@shared_task(name="billing.run_periods")
def run_periods() -> int:
    """Do the runs of months that are ordered, and continue one that was stopped. Scheduled every ten seconds."""
    return running.carry_out()


@shared_task(name="billing.collect")
def collect() -> int:
    """Bring invoices to the payment provider, and read back what it received. Scheduled every five seconds."""
    return sweeping.sweep()


@shared_task(name="billing.tend_wallets")
def tend_wallets() -> None:
    """Warn of credit that expires, write off what has, and ask for top-ups that are due. Scheduled every five minutes."""
    with sweep("wallets") as each:
        for step in each.over((expiring.sweep, topping_up.sweep)):
            with each(step=step.__module__):
                step()


@shared_task(name="billing.change_currencies")
def change_currencies() -> int:
    """Restate the budgets of tenants whose contract has begun in another currency. Scheduled every minute."""
    return restating.change_all()


@shared_task(name="billing.remind")
def remind() -> int:
    """Send the reminders of unpaid invoices that are due. Scheduled every ten minutes."""
    return reminding.remind_all()
