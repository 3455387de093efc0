"""`manage.py node`: tokens by which machines join, and the end of a node, typed on the platform's own machine."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from compute.fleet import machines
from compute.models import Node
from tenants.errors import ExchequerError
from tenants.operators.operator import Operator

BY = Operator(id=UUID(int=0), label="manage.py node", roles=("platform_admin",))


class Command(BaseCommand):
    """Make tokens, and end nodes. `join` runs on the new machine, which has no settings yet: see deploy/node_join.py."""

    help = "token NAME: let a machine join as that node. end NAME: take its login at once. join: on the new machine."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what to do, and with which node."""
        parser.add_argument("act", choices=["token", "end"])
        parser.add_argument("name", help="the node's name")
        parser.add_argument("--pool", action="store_true", help="a token for every machine named NAME-…, for a year")
        parser.add_argument("--reason", default="typed on the machine itself", help="for the operator log")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and print what comes next."""
        name, reason = options["name"], options["reason"]
        try:
            if options["act"] == "token":
                pool = options["pool"]
                row, secret = machines.make_token(operator=BY, name=name, reason=reason, pool=pool)
                self.stdout.write(secret)
                what = f"machines join as {row.node_name}-…" if pool else f"one machine join as {row.node_name}"
                self.stderr.write(f"It lets {what}, until {row.expires_at:%Y-%m-%d %H:%M} UTC.")
                return
            node = Node.objects.filter(name=name).first()
            if node is None:
                raise CommandError(f"There is no node {name}: the console's page Fleet lists them.")
            machines.end(operator=BY, node_id=node.id, reason=reason)
        except ExchequerError as refused:
            raise CommandError(refused.message) from None
        self.stdout.write(f"{name} has no login any more. Its work goes to other nodes.")
