"""`manage.py verify_ledger [--tenant SLUG]`: the ledger balances, and counters and holds equal it."""

from __future__ import annotations

from collections.abc import Iterable

from billing.ledger.reconcile import Fault, ledger_faults
from billing.management.commands._tenants import CheckCommand


class Command(CheckCommand):
    help = "Check that the ledger balances and that budget counters and holds equal it."
    what = "verify_ledger"
    done = "the ledger balances; counters and holds equal it."

    def faults(self) -> Iterable[Fault]:
        """Yield faults of the ledger."""
        return ledger_faults()
