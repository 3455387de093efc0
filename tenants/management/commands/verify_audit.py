"""`manage.py verify_audit`: verify every audit chain; exit 1 with the first fault."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries
from tenants.audit.verify import verify
from tenants.isolation.scoping import tenant_scope


class Command(BaseCommand):
    """Verify one tenant's chain (`--tenant`), else all."""

    help = "Verify the audit chain of every tenant, or of one; exit 1 and name the first entry that fails."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the filter."""
        parser.add_argument("--tenant", help="short name of one tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per tenant."""
        ids = queries.all_tenant_ids(options["tenant"])
        if options["tenant"] and not ids:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        for tenant_id in ids:
            with tenant_scope(tenant_id):
                check = verify()
            if not check.ok:
                raise CommandError(f"{tenant_id}: {check.fault}")
            self.stdout.write(f"{tenant_id}: {check.entries} entries, the chain is valid")
