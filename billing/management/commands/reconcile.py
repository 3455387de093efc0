"""`manage.py reconcile [--tenant SLUG] [--dry-run]`: intervals = roll-ups = rated = ledger = lines = invoices = payments."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from billing.management.commands._tenants import CheckCommand
from billing.reconciling import checking


class Command(CheckCommand):
    help = "Check that intervals, roll-ups, ratings, ledger, invoices and payments agree; park tenants of which they do not."
    done = "intervals = roll-ups = rated = ledger = invoice lines."

    def look(self, tenant_id: UUID, *, dry_run: bool) -> Sequence[str]:
        """Reconcile a tenant."""
        return checking.look(tenant_id) if dry_run else checking.reconcile(tenant_id)
