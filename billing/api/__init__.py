"""REST endpoints of billing, and all its routes."""

from billing.api.billing import urlpatterns

__all__ = [
    "urlpatterns",
]
