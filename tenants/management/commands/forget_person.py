"""`manage.py forget_person`: remove a person's address and name from an organisation, for ever."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import queries
from tenants.access.actor import Actor
from tenants.audit.forgetting import StillMember, forget


class Command(BaseCommand):
    """Forget a person who has left (`EMAIL`) in one organisation (`--tenant`)."""

    help = (
        "Remove a former member's address and name from an organisation's rows, and destroy the key of their label in its "
        "audit log: entries keep a pseudonym, and the chain still verifies. An account that is a member of no organisation "
        "is closed. This cannot be undone, but by restoring a backup from before."
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
        self.stdout.write(f"{done.rows} rows of the organisation named this person, and name nobody any more.")
        if done.account_closed:
            self.stdout.write("The account was closed: it is a member of no organisation.")
        if done.in_clear:
            self.stdout.write(f"{done.in_clear} entries of version 1 keep the address, because their hash covers it")
