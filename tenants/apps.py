"""Django's entry to the app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Register the system checks and the scheme of the API's keys."""
        from tenants import checks, schema  # noqa: F401
