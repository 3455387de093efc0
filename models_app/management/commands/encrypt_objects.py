"""`manage.py encrypt_objects`: encrypt unencrypted files until none is left or it is interrupted."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_app.files import encrypting
from tenants.errors import ExchequerError


class Command(BaseCommand):
    help = "Encrypt stored files that predate encryption. You can interrupt and repeat it at any time."

    def handle(self, *args: Any, **options: Any) -> None:
        """Encrypt batch after batch; exit 1 if files are left that cannot be read."""
        total = 0
        try:
            while done := encrypting.run():
                total += done
                self.stdout.write(f"{total} files encrypted")
        except ExchequerError as error:
            raise CommandError(f"{error.message} {total} files were encrypted; run it again") from error
        left = encrypting.waiting()
        if left:
            raise CommandError(f"{left} files could not be read and stay as they are; the log names them")
        self.stdout.write("every stored file is encrypted")
