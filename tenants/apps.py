"""Django's entry to the app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Register the system checks, the kinds of credentials, the scheme of the API's keys, and the errands that send mail."""
        from tenants import checks, invitations, keys, mail, queries, schema  # noqa: F401
        from tenants.audit import differences

        differences.register(queries.people_and_projects)
