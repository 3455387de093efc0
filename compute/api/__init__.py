"""REST endpoints of the compute app."""

from compute.api.jobs import urlpatterns

__all__ = [
    "urlpatterns",
]
