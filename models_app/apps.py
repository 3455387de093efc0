"""Django's entry to the app."""

from collections.abc import Iterable
from uuid import UUID

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"

    def ready(self) -> None:
        """Plug in the job kinds, the endpoint keys as credentials and the subscribers, and tell billing's pages what endpoints are called."""
        from billing import naming, reserved
        from compute import kinds
        from models_app import endpoint_keys, subscribers  # noqa: F401
        from models_app.batch import BatchPredictKind
        from models_app.models import Endpoint
        from models_app.serving.usage import SOURCE
        from models_app.training import TrainKind

        kinds.register(TrainKind())
        kinds.register(BatchPredictKind())

        def endpoint_names(ids: Iterable[UUID]) -> dict[UUID, str]:
            return dict(Endpoint.objects.filter(id__in=list(ids)).values_list("id", "name"))

        naming.register(endpoint_names, "endpoint", page="endpoint", pieces="Batches")
        reserved.reserve(source=SOURCE, prefixes=("endpoint",))
