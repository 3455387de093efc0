"""`manage.py verify_audit`: verify every audit chain; exit 1 with the first fault."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries
from tenants.audit.checkpoints import public_keys
from tenants.audit.verify import verify, verify_copies, verify_platform
from tenants.errors import Unavailable
from tenants.isolation.scoping import tenant_scope


class Command(BaseCommand):
    """Verify one tenant's chain (`--tenant`), else all and the operator log, against the checkpoints in database and store."""

    help = "Verify the audit chain of every tenant and of the operators, or of one tenant; exit 1 and name the first entry that fails."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the filter."""
        parser.add_argument("--tenant", help="short name of one tenant")
        parser.add_argument(
            "--from", dest="first", type=int, default=1, help="number of the first entry, with --tenant"
        )
        parser.add_argument("--to", dest="last", type=int, help="number of the last entry, with --tenant")
        parser.add_argument(
            "--database-only", action="store_true", help="do not read the signed checkpoints in the object store"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per chain."""
        if not options["tenant"] and (options["first"] != 1 or options["last"] is not None):
            raise CommandError("Name the --tenant whose entries --from and --to are.")
        ids = queries.all_tenant_ids(options["tenant"])
        if options["tenant"] and not ids:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        chains: list[UUID | None] = [*ids, *([] if options["tenant"] else [None])]
        for chain in chains:
            self._verify(chain, (options["first"], options["last"]), database_only=options["database_only"])
        if not options["tenant"]:
            for key in public_keys():
                self.stdout.write(f"checkpoints are signed with {key.id}, public key {key.public_key}")

    def _verify(self, tenant_id: UUID | None, part: tuple[int, int | None], *, database_only: bool) -> None:
        name = str(tenant_id or "operator log")
        if tenant_id is None:
            check = verify_platform()
        else:
            with tenant_scope(tenant_id):
                check = verify(*part)
        if not check.ok:
            raise CommandError(f"{name}: {check.fault}")
        said = f"{name}: {check.entries} entries, the chain is valid"
        if database_only:
            self.stdout.write(f"{said}; the object store was not read")
            return
        try:
            copies = verify_copies(tenant_id, *part)
        except Unavailable as error:
            raise CommandError(
                f"{said}, but the signed checkpoints in the object store could not be compared ({error}); repeat this when it "
                "answers, or verify against the database alone with --database-only"
            ) from error
        if copies.fault:
            raise CommandError(f"{name}: {copies.fault} (by its checkpoint in the object store)")
        lacks = f"; {copies.missing} more have no file there" if copies.missing else ""
        self.stdout.write(f"{said}, {copies.files} signed checkpoints in the object store agree{lacks}")
