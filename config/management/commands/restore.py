"""`manage.py restore DIR`: a backup into an empty installation, checked before and verified after."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backup.copying import restore
from config.backup.manifest import BackupError
from models_app.object_store.storage import ChecksumMismatch
from tenants.errors import ExchequerError


class Command(BaseCommand):
    help = "Restore a backup into an empty installation. The roles of deploy/roles.sql and the backup's master key must be there."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the folder."""
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        """Restore and print what was verified."""
        try:
            restore(folder, self.stdout.write)
        except (BackupError, ExchequerError, ChecksumMismatch) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("restored; start the product again (make up), which migrates what is older than this version")
