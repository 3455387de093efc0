"""Django's `migrate`, in a fifth of the time."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate

from config.management.quick_states import quick_states


class Command(migrate.Command):
    """Apply or undo migrations."""

    def handle(self, *args: Any, **options: Any) -> None:
        with quick_states():
            super().handle(*args, **options)
