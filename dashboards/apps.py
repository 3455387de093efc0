"""Django's entry to the app."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    """Dashboards: uses the queries of the other apps, owns no table."""

    name = "dashboards"

    def ready(self) -> None:
        """Register the page that an organisation opens with, and the charts in the navigation."""
        from tenants.web import navigation
        from tenants.web.navigation import MAIN, MONEY, NavigationEntry

        navigation.register_home("overview")
        navigation.register(
            MAIN,
            NavigationEntry("Overview", "layout-dashboard", "overview", "tenant.view", "o", order=10),
            NavigationEntry("Model health", "activity", "dash-page", "endpoints.view", "h", ("health",), order=60),
        )
        navigation.register(
            MONEY, NavigationEntry("Spend", "chart-bar", "dash-page", "spend.view", "u", ("spend",), order=10)
        )
