"""Django's entry to the app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Register the system checks, the kinds of credentials, the API's key scheme, and the external events that send
        email.
        """
        from tenants import checks, queries  # noqa: F401
        from tenants.audit import differences
        from tenants.identity import api_keys, invitations  # noqa: F401
        from tenants.notifications import emails  # noqa: F401
        from tenants.web import openapi  # noqa: F401

        differences.register(queries.people_and_projects)
