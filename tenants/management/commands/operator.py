"""`manage.py operator EMAIL`: manage operators. Only a command can; no page and no API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.errors import ExchequerError
from tenants.operators import grants


class Command(BaseCommand):
    """Give an operator a role, revoke it with `--revoke`, or list all operators without an address."""

    help = (
        "Give the operator with this email address a role; --revoke takes it back; without an address: list operators."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", nargs="?", default="")
        parser.add_argument(
            "--role", default="", help=f"one of {', '.join(OPERATOR_ROLES)}; platform_admin to begin with"
        )
        parser.add_argument("--password", help="create the account with this password if it does not exist")
        parser.add_argument("--set-password", help="set the password of the operator; their sessions end")
        parser.add_argument("--reset-second-factor", action="store_true", help="remove lost second factors")
        parser.add_argument("--revoke", action="store_true", help="take back the role, or all without --role")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what changed; exit 1 with the reason if the address is unknown or a value is refused."""
        email = options["email"]
        if not email:
            lines = [f"{row.email}  {', '.join(row.roles) or 'no role'}" for row in grants.operators()]
            self.stdout.write("\n".join(lines) or "there is not an operator yet: manage.py operator EMAIL --password P")
            return
        try:
            self.stdout.write(_act(email, options))
        except ExchequerError as error:
            raise CommandError(error.message) from error


def _act(email: str, options: dict[str, Any]) -> str:
    """Do what was asked for and return what it came to. Raises ExchequerError."""
    if options["set_password"]:
        grants.set_password(email, options["set_password"])
        return f"{email} has a new password and is logged out everywhere"
    if options["reset_second_factor"]:
        changed, state = grants.reset_second_factor(email), "has no second factor"
    elif options["revoke"]:
        changed, state = grants.revoke(email, options["role"]), f"has lost {options['role'] or 'every role'}"
    else:
        role = options["role"] or "platform_admin"
        changed, state = grants.grant(email, role, password=options["password"]), f"is {role}"
    return f"{email} {state}{'' if changed else ' (nothing was changed)'}"
