"""REST endpoints of the models app."""

from models_app.api.datasets import urlpatterns

__all__ = [
    "urlpatterns",
]
