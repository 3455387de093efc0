"""Django's entry to the app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Register the system checks."""
        from tenants import checks  # noqa: F401
