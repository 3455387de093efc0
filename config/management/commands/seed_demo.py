"""`manage.py seed_demo --tenants 3 --days 60 --seed 7`: load the demo.

Organisations with weeks of history, made through the real operations.
"""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.demo import loading, organisations
from tenants.errors import ExchequerError


class Command(BaseCommand):
    """Load the demo, once, and print how to log in."""

    help = (
        "Create the demo organisations with people, budgets, data, jobs, models, endpoints and usage, on a simulated clock; all or nothing. Needs an installation without organisations, and the product stopped. "
        "The same seed creates the same demo, except for ids."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the number, the length and the seed."""
        parser.add_argument("--tenants", type=int, default=3, help=f"organisations, 1 to {organisations.MOST} (3)")
        parser.add_argument(
            "--days",
            type=int,
            default=60,
            help=f"length of the history, {loading.FEWEST_DAYS} to {loading.MOST_DAYS} (60)",
        )
        parser.add_argument(
            "--unless-used", action="store_true", help="do nothing, and succeed, where other organisations exist"
        )
        parser.add_argument(
            "--no-operator",
            action="store_true",
            help="make nobody who sees the platform: the demo's password is known to all",
        )
        parser.add_argument("--seed", type=int, default=7, help="of everything that is drawn (7)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print progress, what was created and the logins; exit 1 with a sentence if it is refused."""
        number, days, began = options["tenants"], options["days"], time.monotonic()
        if not 1 <= number <= organisations.MOST or not loading.FEWEST_DAYS <= days <= loading.MOST_DAYS:
            raise CommandError(
                f"Use 1 to {organisations.MOST} organisations and {loading.FEWEST_DAYS} to {loading.MOST_DAYS} days."
            )
        try:
            made = loading.load(
                number=number,
                days=days,
                seed=options["seed"],
                say=self._say,
                operator=not options["no_operator"],
            )
        except loading.NotEmpty as error:
            if not options["unless_used"]:
                raise CommandError(error.message) from error
            self._say("not loaded: organisations of another kind are here already")
            return
        except ExchequerError as error:
            raise CommandError(error.message) from error
        if made.fresh:
            took = time.monotonic() - began
            self._say(f"{made.organisations} organisations, {days} days, {made.jobs} jobs: loaded in {took:.0f} s")
        else:
            self._say("the demo is loaded already; nothing was changed")
        self.stdout.write(organisations.logins(number, operator=not options["no_operator"]))

    def _say(self, text: str) -> None:
        self.stdout.write(f"demo: {text}")
        self.stdout.flush()
