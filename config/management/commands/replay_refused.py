"""`manage.py replay_refused`: settle quarantined usage of the serving nodes on this machine."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from models_app.serving.accounting import settlement
from models_app.serving.backend import BackendUnavailable
from models_app.serving.database import Database


class Command(BaseCommand):
    """Settle quarantined records again; exit 1 if some are rejected again."""

    help = "Account for quarantined usage (`doctor` lists it) after its cause is fixed. The node may be running."

    def handle(self, *args: Any, **options: Any) -> None:
        """Process the spools of this machine's serving nodes."""
        backend = Database("replay", 0)
        done = left = 0
        for folder in sorted((Path(settings.EXCHEQUER.home).absolute() / "serving").glob("*/spool")):
            try:
                more, still = settlement.replay(backend, folder)
            except BackendUnavailable as error:
                raise CommandError(f"The database does not answer; nothing is lost, try again. {error}") from error
            done, left = done + more, left + still
        self.stdout.write(f"{done} records accounted for, {left} quarantined again; the log names the cause.")
        if left:
            sys.exit(1)
