"""`manage.py verify_ledger [--tenant SLUG] [--dry-run]`: the ledger balances, and counters and holds equal it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from billing.ledger.reconcile import ledger_faults
from billing.management.commands._tenants import CheckCommand
from billing.reconciling.checking import raise_difference
from tenants.isolation.scoping import tenant_scope


class Command(CheckCommand):
    help = "Check that the ledger balances and that budget counters and holds equal it."
    done = "the ledger balances; counters and holds equal it."

    def look(self, tenant_id: UUID, *, dry_run: bool) -> Sequence[str]:
        """Return the first fault of a tenant's ledger."""
        with tenant_scope(tenant_id):
            found = [str(fault) for fault in islice(ledger_faults(), 1)]
        if found and not dry_run:
            raise_difference(tenant_id, "verify_ledger")
        return found
