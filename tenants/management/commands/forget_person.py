"""`manage.py forget_person`: make a person's label in the audit log of an organisation unreadable, for ever."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries
from tenants.access.actor import Actor
from tenants.audit.forgetting import StillMember, forget


class Command(BaseCommand):
    """Destroy the key of a person who has left (`EMAIL`) in one organisation (`--tenant`)."""

    help = (
        "Destroy the key of a former member's label in an organisation's audit log: entries keep a pseudonym, and the "
        "chain still verifies. This cannot be undone, but by restoring a backup from before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare whom, and where."""
        parser.add_argument("email", help="address of the person")
        parser.add_argument("--tenant", required=True, help="short name of the organisation")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was erased, and what cannot be."""
        ids = queries.all_tenant_ids(options["tenant"])
        if not ids:
            raise CommandError(f"There is no organisation {options['tenant']!r}.")
        try:
            done = forget(actor=Actor.system(ids[0], "forget_person"), email=options["email"])
        except StillMember as error:
            raise CommandError(str(error)) from error
        if not done.pseudonyms:
            self.stdout.write("The audit log has no label of this person.")
        for name in done.pseudonyms:
            self.stdout.write(f"{name} is an erased person now")
        if done.in_clear:
            self.stdout.write(f"{done.in_clear} entries of version 1 keep the address, because their hash covers it")
