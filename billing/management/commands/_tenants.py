"""Base of commands that check one tenant or all, and fail with the first fault."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.ledger.reconcile import Fault
from billing.platform_events import DIFFERENCE
from tenants import queries
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.operators.platform_events.raising import raise_event


class CheckCommand(BaseCommand):
    """Base of `verify_ledger` and `reconcile`: exit 0, or 1 and the first fault."""

    what, done = "", ""

    @abstractmethod
    def faults(self) -> Iterable[Fault]:
        """Yield the faults of the tenant whose scope is open."""

    def report(self, tenant_id: UUID) -> None:
        """Raise that the figures of a tenant differ, once a day."""
        raise_event(
            DIFFERENCE,
            of=("organisation", tenant_id),
            path=f"tenants/{tenant_id}/",
            once=f"{tenant_id} {self.what} {now():%Y-%m-%d}",
            about=tenant_id,
            data={"check": self.what},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the argument for the slug of a tenant."""
        parser.add_argument("--tenant", metavar="SLUG", help="only this tenant; all without it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check tenant after tenant; raise CommandError (exit 1) at the first fault."""
        tenant_ids = queries.all_tenant_ids(options["tenant"])
        if options["tenant"] and not tenant_ids:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        for tenant_id in tenant_ids:
            with tenant_scope(tenant_id):
                fault = next(iter(self.faults()), None)
            if fault is not None:
                self.report(tenant_id)
                raise CommandError(f"{tenant_id}: {fault}")
        self.stdout.write(f"{len(tenant_ids)} {'tenant' if len(tenant_ids) == 1 else 'tenants'}: {self.done}")
