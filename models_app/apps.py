"""Django's entry to the app."""

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"

    def ready(self) -> None:
        """Plug in the job kinds and the subscribers."""
        from compute import kinds
        from models_app import subscribers  # noqa: F401
        from models_app.batch import BatchPredictKind
        from models_app.training import TrainKind

        kinds.register(TrainKind())
        kinds.register(BatchPredictKind())
