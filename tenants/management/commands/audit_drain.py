"""`manage.py audit_drain`: new entries of the audit logs and of the operator log as JSON lines, for a SIEM."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries
from tenants.access.actor import Actor
from tenants.audit.chain import plain
from tenants.audit.checkpoints import PLATFORM_CHAIN
from tenants.audit.queries import export
from tenants.isolation.scoping import scoped_pages
from tenants.operators.log import queries as operator_log


class Command(BaseCommand):
    """Write what follows a cursor (`--since`), and the cursor to go on from as the last line."""

    help = (
        "Print the entries of the operator log and of all audit logs, or of one (--tenant), after a cursor, one JSON object a "
        "line; those of the operator log have no tenant_id. The last line is "
        '{"cursor": ...}: give it, or the file that it is in, as --since of the next run. Without --since all entries.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the cursor, and whose logs."""
        parser.add_argument("--since", default="{}", help="a cursor (JSON), or a file that ends with one")
        parser.add_argument("--tenant", help="short name of one organisation")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the lines."""
        cursor = _cursor(options["since"])
        ids = queries.all_tenant_ids(options["tenant"])
        if options["tenant"] and not ids:
            raise CommandError(f"There is no organisation {options['tenant']!r}.")
        for tenant_id in ids:
            actor, last = Actor.system(tenant_id, "audit_drain"), cursor.get(str(tenant_id), 0)
            for page in scoped_pages(tenant_id, export(actor, last + 1)):
                for one in page:
                    self._say(one)
                    last = one.get("seq", last)
            cursor[str(tenant_id)] = last
        if not options["tenant"]:
            last = cursor.get(PLATFORM_CHAIN, 0)
            for one in operator_log.export(last + 1):
                self._say(one)
                last = one.get("seq", last)
            cursor[PLATFORM_CHAIN] = last
        self._say({"cursor": cursor})

    def _say(self, value: Any) -> None:
        self.stdout.write(json.dumps(plain(value), sort_keys=True, ensure_ascii=True))


def _cursor(text: str) -> dict[str, int]:
    try:
        if not text.lstrip().startswith("{"):
            lines = Path(text).read_text().splitlines()
            text = lines[-1] if lines else "{}"
        found = json.loads(text)
        found = found.get("cursor", found)
        return {name if name == PLATFORM_CHAIN else str(UUID(name)): int(seq) for name, seq in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise CommandError(f"--since is no cursor of this command: {error}") from error
