"""`manage.py verify_audit`: verify every audit chain; exit 1 with the first fault."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries
from tenants.audit.checkpoints import public_keys
from tenants.audit.verify import verify, verify_platform
from tenants.isolation.scoping import tenant_scope


class Command(BaseCommand):
    """Verify one tenant's chain (`--tenant`), else all and the operator log."""

    help = "Verify the audit chain of every tenant and of the operators, or of one tenant; exit 1 and name the first entry that fails."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the filter."""
        parser.add_argument("--tenant", help="short name of one tenant")
        parser.add_argument(
            "--from", dest="first", type=int, default=1, help="number of the first entry, with --tenant"
        )
        parser.add_argument("--to", dest="last", type=int, help="number of the last entry, with --tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per chain."""
        if not options["tenant"] and (options["first"] != 1 or options["last"] is not None):
            raise CommandError("Name the --tenant whose entries --from and --to are.")
        ids = queries.all_tenant_ids(options["tenant"])
        if options["tenant"] and not ids:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        for tenant_id in ids:
            with tenant_scope(tenant_id):
                check = verify(options["first"], options["last"])
            if not check.ok:
                raise CommandError(f"{tenant_id}: {check.fault}")
            self.stdout.write(f"{tenant_id}: {check.entries} entries, the chain is valid")
        if not options["tenant"]:
            check = verify_platform()
            if not check.ok:
                raise CommandError(f"operator log: {check.fault}")
            self.stdout.write(f"operator log: {check.entries} entries, the chain is valid")
            for key in public_keys():
                self.stdout.write(f"checkpoints are signed with {key.id}, public key {key.public_key}")
