"""`manage.py backup DIR`: the database, the objects as stored, a manifest; never the master key."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backup.copying import backup
from config.backup.manifest import BackupError
from tenants.errors import ExchequerError


class Command(BaseCommand):
    help = "Back up the whole installation into an empty folder. The backup does not include the master key: keep it elsewhere."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the folder."""
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        """Make the backup and print which master keys it needs."""
        try:
            made = backup(folder, self.stdout.write)
        except (BackupError, ExchequerError) as error:
            raise CommandError(str(error)) from error
        needs = ", ".join(made.master_keys) or "no master key, since nothing is stored"
        self.stdout.write(f"backed up to {folder}; to be read it needs {needs}")
