"""`manage.py config`: the effective settings, secrets masked."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Print NAME=value lines."""

    help = "Print the effective settings, secrets masked."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per setting, by name."""
        for name, value in sorted(settings.EXCHEQUER.masked().items()):
            self.stdout.write(f"{name}={value}")
