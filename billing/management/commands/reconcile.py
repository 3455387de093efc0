"""`manage.py reconcile [--tenant SLUG]`: intervals = roll-ups = rated = ledger = invoice lines."""

from __future__ import annotations

from collections.abc import Iterable

from billing.ledger.reconcile import Fault, reconcile_faults
from billing.management.commands._tenants import CheckCommand


class Command(CheckCommand):
    help = "Check that intervals, roll-ups, ratings, ledger and invoice lines agree."
    what = "reconcile"
    done = "intervals = roll-ups = rated = ledger = invoice lines."

    def faults(self) -> Iterable[Fault]:
        """Yield the differences between the tables."""
        return reconcile_faults()
