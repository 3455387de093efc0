"""Django's entry to the app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Subscribe to the events of lower apps, and tell operators what the month costs."""
        from billing import subscribers  # noqa: F401
        from billing.queries.digest import digest
        from tenants.operators import tenant_metrics

        tenant_metrics.register(digest)
