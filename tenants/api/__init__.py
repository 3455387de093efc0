"""REST endpoints of the tenancy app."""

from tenants.api.organisation import urlpatterns

__all__ = [
    "urlpatterns",
]
