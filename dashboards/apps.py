"""App configuration."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    """Dashboards: reads the queries of the other rooms, owns no table."""

    name = "dashboards"
