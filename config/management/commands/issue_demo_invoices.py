"""`manage.py issue_demo_invoices --tenants 3`: issue the invoices of the demo's ended months, in the console's role."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.demo import issuing
from tenants.errors import ExchequerError


class Command(BaseCommand):
    """Enter a seller, finalise the ended months of the demo, and settle some of them."""

    help = "Issue the invoices of the demo's ended months. It needs the role of the operators' console, and the demo."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the number of organisations."""
        parser.add_argument("--tenants", type=int, default=3, help="organisations of the demo (3)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print how many invoices were finalised; exit 1 with a sentence if one is refused."""
        try:
            done = issuing.issue(options["tenants"])
        except ExchequerError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"demo: {done} invoices issued")
