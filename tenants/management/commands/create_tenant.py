"""`manage.py create_tenant`: an organisation, its owner and a key, without a browser."""

import json
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from tenants import bootstrap
from tenants.errors import ExchequerError


class Command(BaseCommand):
    """Print the new tenant as JSON; exit 1 with the reason if it exists or a value is refused."""

    help = "Create an organisation with its owner and an API key that has all scopes; prints JSON; refuses what exists."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name")
        parser.add_argument("--email", required=True)
        parser.add_argument("--password")
        parser.add_argument("--api-key")
        parser.add_argument("--slug")
        parser.add_argument("--timezone", default="UTC")
        parser.add_argument("--currency", default="EUR")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create all or nothing, then deliver what other apps set up for a new tenant."""
        slug = options["slug"] or re.sub(r"[^a-z0-9]+", "-", options["name"].lower()).strip("-")[:50]
        try:
            with transaction.atomic():
                made = bootstrap.create(
                    bootstrap.Wanted(
                        name=options["name"],
                        slug=slug,
                        email=options["email"],
                        password=options["password"],
                        api_key=options["api_key"],
                        timezone=options["timezone"],
                        currency=options["currency"],
                    )
                )
        except ExchequerError as error:
            raise CommandError(error.message) from error
        bootstrap.settle_in(made.tenant_id)
        self.stdout.write(json.dumps(made.as_json()))
