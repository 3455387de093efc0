"""`manage.py load_demo`: the demo organisations, made once."""

from typing import Any

from django.core.management.base import BaseCommand

from config import demo


class Command(BaseCommand):
    """Create the demo organisations that do not exist yet, and print how to log in."""

    help = "Create the demo organisations that do not exist yet."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the log-ins whether they were made now or before."""
        demo.load()
        for name, slug, _ in demo.ORGANISATIONS:
            self.stdout.write(f"  {name}: {', '.join(demo.email_of(role, slug) for role, _ in demo.PEOPLE)}")
        self.stdout.write(f"  password of each: {demo.PASSWORD}")
