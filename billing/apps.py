"""Django's entry to the app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Subscribe to events of lower apps, and register the month's cost as a tenant metric."""
        from billing import subscribers  # noqa: F401
        from billing.queries.digest import digest
        from tenants.operators import tenant_metrics

        tenant_metrics.register(digest)
