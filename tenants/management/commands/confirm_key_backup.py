"""`manage.py confirm_key_backup`: confirm that a copy of the master key is kept elsewhere; the doctor asks until then."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.encryption import KeyUnavailable, rotation


class Command(BaseCommand):
    help = "Confirm that a copy of the master key is stored outside this machine. Without the key every stored file is lost."

    def handle(self, *args: Any, **options: Any) -> None:
        """Record it for the key in use."""
        try:
            key = rotation.confirm_backup()
        except KeyUnavailable as error:
            raise CommandError("this process does not hold the master key in use: set EXCHEQUER_MASTER_KEY") from error
        self.stdout.write(f"recorded: the master key {key} is also stored elsewhere")
