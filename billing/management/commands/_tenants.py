"""Base of commands that check one tenant or all, and fail with the first fault."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries

MOST = 10


class CheckCommand(BaseCommand):
    """Base of `verify_ledger` and `reconcile`: exit 0, or 1 and the first fault. All tenants are checked before."""

    done = ""

    @abstractmethod
    def look(self, tenant_id: UUID, *, dry_run: bool) -> Sequence[str]:
        """Return the faults of a tenant, and report them unless `dry_run`."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument("--tenant", metavar="SLUG", help="only this tenant; all without it")
        parser.add_argument("--dry-run", action="store_true", help="only look: keep and report nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check tenant after tenant; raise CommandError (exit 1) with the first fault of each, at most ten."""
        tenant_ids = queries.all_tenant_ids(options["tenant"])
        if options["tenant"] and not tenant_ids:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        faults = []
        for tenant_id in tenant_ids:
            found = self.look(tenant_id, dry_run=options["dry_run"])
            faults += [f"{tenant_id}: {found[0]}"] if found else []
        if faults:
            more = len(faults) - MOST
            raise CommandError("\n".join([*faults[:MOST], *([f"and {more} more tenants"] if more > 0 else [])]))
        self.stdout.write(f"{len(tenant_ids)} {'tenant' if len(tenant_ids) == 1 else 'tenants'}: {self.done}")
