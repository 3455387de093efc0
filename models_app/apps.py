"""Django's entry to the app."""

from collections.abc import Iterable
from uuid import UUID

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"

    def ready(self) -> None:
        """Register the job kinds, credentials, subscribers, names of endpoints, words of the audit log and navigation."""
        from billing import resource_names
        from billing.allocation import required_tags
        from billing.usage import owners as cost_owners
        from billing.usage import reserved_sources
        from compute import kinds
        from models_app import access, sharing, subscribers, webhook_events  # noqa: F401
        from models_app.batch.batch import BatchPredictKind
        from models_app.datasets import storage_quota, uploads
        from models_app.endpoints import endpoint_keys  # noqa: F401
        from models_app.models import Endpoint
        from models_app.monitoring.health import digest
        from models_app.object_store import checkpoint_files
        from models_app.pipelines import reading, steps
        from models_app.presets import reading as presets
        from models_app.registry import owners, promotions
        from models_app.schedules import reading as schedules
        from models_app.serving.accounting.usage import SOURCE
        from models_app.training.training import TrainKind
        from tenants import quotas
        from tenants.access.reader import reader
        from tenants.audit import checkpoints, erasure, words
        from tenants.notifications import topics
        from tenants.operators import tenant_metrics
        from tenants.web import error_pages, navigation
        from tenants.web.navigation import MAIN, ORGANISATION, NavigationEntry

        erasure.keep("models_app_feedback")
        # What was trained is signed for by its digests.
        erasure.change_only("models_app_modelversion", "requested_by_label", "approved_by_label")
        topics.register(
            "models", "Model versions: approvals and answers", "model.approval", "model.approved", "model.declined"
        )
        topics.register("endpoints", "Endpoints that stop, and model health", "endpoint_stopped", "health_alert")
        topics.register("exports", "Exports that are ready or have failed", "export_ready", "export_failed")
        kinds.register(TrainKind(), hidden=access.hidden_work, admit=access.admit_model_name)
        kinds.register(BatchPredictKind(), hidden=access.hidden_work)
        for kind, title in (("train", "Training"), ("batch_predict", "Batch predictions"), ("endpoint", "Endpoints")):
            required_tags.register_kind(kind, title)
        steps.register()
        topics.register("pipelines", "Pipelines: reports and failures", "pipeline_report", "pipeline_failed")
        topics.register(
            "schedules",
            "Schedules: launches that were missed or refused, and pauses",
            "schedule_missed",
            "schedule_refused",
            "schedule_paused",
        )
        access.register_audited()
        reading.register_audited()
        presets.register_audited()
        schedules.register_audited()
        sharing.register()
        promotions.register()
        checkpoints.register(checkpoint_files.keep, checkpoint_files.kept)
        tenant_metrics.register(digest, "open_alerts")
        quotas.register(storage_quota.limited)

        def endpoint_names(ids: Iterable[UUID]) -> dict[UUID, str]:
            actor = reader()
            rows = Endpoint.objects.all() if actor is None else access.visible_endpoints(actor)
            return dict(rows.filter(id__in=list(ids)).values_list("id", "name"))

        def hidden_endpoints() -> set[str]:
            actor = reader()
            if actor is None or access.sees_everything(actor):
                return set()
            seen = access.visible_endpoints(actor)
            return set(Endpoint.objects.exclude(name__in=seen.values("name")).values_list("name", flat=True))

        resource_names.withhold("endpoint", hidden_endpoints)
        resource_names.register(endpoint_names, "endpoint", page="endpoint", record_noun="Batches")
        cost_owners.register("model", resource_names.JOB, owners.models_of_jobs)
        cost_owners.register("model", "endpoint", owners.models_of_endpoints)
        cost_owners.register("person", "endpoint", owners.people_of_endpoints)
        reserved_sources.reserve(source=SOURCE, prefixes=("endpoint",))
        words.register(
            {
                "models_app.dataset_version.columns_chosen": "Dataset column types changed",
                "models_app.dataset_version.failed": "Dataset version could not be read",
                "models_app.endpoint.reported": "Endpoint state reported",
                "models_app.model_version.declined": "Promotion declined",
                "models_app.model_version.requested": "Promotion requested",
                "models_app.pipeline.saved": "Pipeline saved",
                "models_app.pipeline.removed": "Pipeline removed",
                "models_app.pipeline_run.ended": "Pipeline run ended",
                "models_app.pipeline_run.retried": "Pipeline run retried",
                "models_app.preset.saved": "Preset saved",
                "models_app.schedule.fired": "Schedule was due",
                "models_app.schedule.saved": "Schedule saved",
            },
            fields={"generation": "deployment", "slo_ms": "latency objective (ms)", "wanted": "requested stage"},
        )
        error_pages.register_advice(413, uploads.size_advice)
        navigation.register(ORGANISATION, NavigationEntry("Export", "download", "exports", "tenant.export", order=55))
        navigation.register(
            MAIN,
            NavigationEntry("Pipelines", "git-branch", "pipelines", "jobs.view", order=25),
            NavigationEntry("Schedules", "clock", "schedules", "jobs.view", order=26),
            NavigationEntry("Datasets", "database", "datasets", "datasets.view", "d", order=30),
            NavigationEntry("Models", "box", "models", "models.view", "m", order=40),
            NavigationEntry("Endpoints", "bolt", "endpoints", "endpoints.view", "e", order=50),
        )
