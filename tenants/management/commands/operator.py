"""`manage.py operator EMAIL`: manage operators. Only a command can; no page and no API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.errors import ExchequerError
from tenants.operators import grants


class Command(BaseCommand):
    """Make an account an operator, revoke that with `--revoke`, or list all operators without an address."""

    help = (
        "Make the account with this email address an operator; --revoke undoes it; without an address: list operators."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", nargs="?", default="")
        parser.add_argument("--password", help="create the account with this password if it does not exist")
        parser.add_argument("--set-password", help="set the password of the operator; no page can do this")
        parser.add_argument("--revoke", action="store_true", help="remove operator rights from the account")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what changed; exit 1 with the reason if the address is unknown or a value is refused."""
        email = options["email"]
        if not email:
            self.stdout.write("\n".join(grants.operators()) or "there is not an operator yet: manage.py operator EMAIL")
            return
        try:
            if options["set_password"]:
                grants.set_password(email, options["set_password"])
                self.stdout.write(f"{email} has a new password and is logged out everywhere")
                return
            if options["revoke"]:
                changed = grants.revoke(email)
            else:
                changed = grants.grant(email, password=options["password"])
        except ExchequerError as error:
            raise CommandError(error.message) from error
        state = "is not an operator" if options["revoke"] else "is an operator: /operator/"
        self.stdout.write(f"{email} {state}{'' if changed else ' (nothing was changed)'}")
