"""Django's entry to the app."""

from collections.abc import Iterable
from uuid import UUID

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"

    def ready(self) -> None:
        """Register job kinds, endpoint keys as credentials, subscribers, and endpoint names for billing's pages."""
        from billing import resource_names
        from billing.usage import reserved_sources
        from compute import kinds
        from models_app import access, subscribers  # noqa: F401
        from models_app.batch.batch import BatchPredictKind
        from models_app.endpoints import endpoint_keys  # noqa: F401
        from models_app.models import Endpoint
        from models_app.serving.accounting.usage import SOURCE
        from models_app.training.training import TrainKind
        from tenants.access.reader import reader

        kinds.register(TrainKind(), visible=access.visible_work(TrainKind.name), admit=access.admit_model_name)
        kinds.register(BatchPredictKind(), visible=access.visible_work(BatchPredictKind.name))
        access.register_audited()

        def endpoint_names(ids: Iterable[UUID]) -> dict[UUID, str]:
            rows = Endpoint.objects.filter(id__in=list(ids))
            if (actor := reader()) is not None:
                rows = rows.filter(version__in=access.visible_versions(actor).select_related(None))
            return dict(rows.values_list("id", "name"))

        def hidden_endpoints() -> set[str]:
            actor = reader()
            if actor is None or actor.can("datasets.view_restricted"):
                return set()
            seen = Endpoint.objects.filter(version__in=access.visible_versions(actor).select_related(None))
            return set(Endpoint.objects.exclude(name__in=seen.values("name")).values_list("name", flat=True))

        resource_names.withhold("endpoint", hidden_endpoints)
        resource_names.register(endpoint_names, "endpoint", page="endpoint", pieces="Batches")
        reserved_sources.reserve(source=SOURCE, prefixes=("endpoint",))
