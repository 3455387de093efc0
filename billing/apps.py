"""Django's entry to the app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Subscribe to the events of lower apps."""
        from billing import subscribers  # noqa: F401
