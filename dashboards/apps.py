"""Django's entry to the app."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    """Dashboards: uses the queries of the other apps, owns no table."""

    name = "dashboards"
