"""`manage.py doctor`: what is wrong with this installation, one line each."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from compute.sandbox.sandbox import explained
from config import doctor


class Command(BaseCommand):
    """Print one line per finding; exit 1 if anything is wrong."""

    help = "Report what is wrong with this installation, one finding a line; exit 1 if there is any."
    requires_system_checks: list[str] = []  # it says itself what is wrong, and in its own words

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the two ways to ask for less."""
        parser.add_argument("--wrong", action="store_true", help="print only findings")
        parser.add_argument(
            "--sandbox", action="store_true", help="print only the sandbox layers that are missing here; exit 0"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the checks and print the findings."""
        if options["sandbox"]:
            for layer in doctor.missing_layers():
                self.stdout.write(explained(layer))
            return
        wrong = 0
        for finding in doctor.examine():
            wrong += finding.level == "wrong"
            if finding.level == "wrong" or not options["wrong"]:
                self.stdout.write(f"{finding.level:<6}{finding.subject}: {finding.text}")
        if wrong:
            sys.exit(1)
