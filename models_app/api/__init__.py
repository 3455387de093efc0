"""API operations of the models app, and all their routes."""

from django.urls import URLPattern, path

from models_app.api.batch import JobResult, JobResultFile
from models_app.api.columns import DatasetColumns
from models_app.api.dataset_versions import DatasetHangs, DatasetVersion
from models_app.api.datasets import Dataset, DatasetProfile, Datasets, Models, ModelVersions, Recipes, VersionLineage
from models_app.api.endpoints import EndpointKeys, Endpoints, OneEndpoint, OneEndpointKey
from models_app.api.exports import ExportFile, Exports
from models_app.api.files import VersionDownload, VersionWeights
from models_app.api.model_versions import VersionApprove, VersionDecline, VersionPromote
from models_app.api.monitoring import EndpointFeedback, EndpointHealth, EndpointTraffic
from models_app.api.pipelines import OnePipeline, OneRun, PipelineRuns, Pipelines, RunCancel, RunRetry, Runs
from models_app.api.presets import OnePreset, PresetLaunch, Presets
from models_app.api.schedules import (
    OneSchedule,
    ScheduleLaunch,
    SchedulePause,
    ScheduleResume,
    ScheduleRuns,
    Schedules,
)
from tenants.api import shares

__all__ = ["urlpatterns"]

DatasetShares, DatasetShare = shares.views_of("dataset", "datasets.share")
ModelShares, ModelShare = shares.views_of("model", "models.manage")
EndpointShares, EndpointShare = shares.views_of("endpoint", "endpoints.manage")

urlpatterns: list[URLPattern] = [
    path("datasets/", Datasets.as_view(), name="api-datasets"),
    path("datasets/<uuid:dataset_id>/", Dataset.as_view(), name="api-dataset"),
    path("datasets/<uuid:dataset_id>/profile/", DatasetProfile.as_view(), name="api-dataset-profile"),
    path("datasets/<uuid:dataset_id>/columns/", DatasetColumns.as_view(), name="api-dataset-columns"),
    path("datasets/<uuid:dataset_id>/hangs/", DatasetHangs.as_view(), name="api-dataset-hangs"),
    path("datasets/<uuid:dataset_id>/shares/", DatasetShares.as_view(), name="api-dataset-shares"),
    path("datasets/<uuid:dataset_id>/shares/<uuid:holder_id>/", DatasetShare.as_view(), name="api-dataset-share"),
    path("models/<uuid:model_id>/shares/", ModelShares.as_view(), name="api-model-shares"),
    path("models/<uuid:model_id>/shares/<uuid:holder_id>/", ModelShare.as_view(), name="api-model-share"),
    path("endpoints/<uuid:endpoint_id>/shares/", EndpointShares.as_view(), name="api-endpoint-shares"),
    path("endpoints/<uuid:endpoint_id>/shares/<uuid:holder_id>/", EndpointShare.as_view(), name="api-endpoint-share"),
    path(
        "datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/",
        DatasetVersion.as_view(),
        name="api-dataset-version",
    ),
    path("exports/organisation/", Exports.as_view(), name="api-exports"),
    path("exports/organisation/<uuid:export_id>/file/", ExportFile.as_view(), name="api-export-file"),
    path("recipes/", Recipes.as_view(), name="api-recipes"),
    path("models/", Models.as_view(), name="api-models"),
    path("models/<uuid:model_id>/versions/", ModelVersions.as_view(), name="api-model-versions"),
    path("versions/<uuid:version_id>/lineage/", VersionLineage.as_view(), name="api-version-lineage"),
    path("versions/<uuid:version_id>/promote/", VersionPromote.as_view(), name="api-version-promote"),
    path("versions/<uuid:version_id>/approve/", VersionApprove.as_view(), name="api-version-approve"),
    path("versions/<uuid:version_id>/decline/", VersionDecline.as_view(), name="api-version-decline"),
    path("versions/<uuid:version_id>/download/", VersionDownload.as_view(), name="api-version-download"),
    path("versions/<uuid:version_id>/weights/", VersionWeights.as_view(), name="api-version-weights"),
    path("jobs/<uuid:job_id>/result/", JobResult.as_view(), name="api-job-result"),
    path("jobs/<uuid:job_id>/result/<slug:form>/", JobResultFile.as_view(), name="api-job-result-file"),
    path("endpoints/", Endpoints.as_view(), name="api-endpoints"),
    path("endpoints/<uuid:endpoint_id>/", OneEndpoint.as_view(), name="api-endpoint"),
    path("endpoints/<uuid:endpoint_id>/keys/", EndpointKeys.as_view(), name="api-endpoint-keys"),
    path(
        "endpoints/<uuid:endpoint_id>/keys/<uuid:endpoint_key_id>/",
        OneEndpointKey.as_view(),
        name="api-endpoint-key",
    ),
    path("endpoints/<uuid:endpoint_id>/traffic/", EndpointTraffic.as_view(), name="api-endpoint-traffic"),
    path("endpoints/<uuid:endpoint_id>/health/", EndpointHealth.as_view(), name="api-endpoint-health"),
    path("endpoints/<uuid:endpoint_id>/feedback/", EndpointFeedback.as_view(), name="api-endpoint-feedback"),
    path("pipelines/", Pipelines.as_view(), name="api-pipelines"),
    path("pipelines/<uuid:pipeline_id>/", OnePipeline.as_view(), name="api-pipeline"),
    path("pipelines/<uuid:pipeline_id>/runs/", PipelineRuns.as_view(), name="api-runs-of-pipeline"),
    path("pipeline-runs/", Runs.as_view(), name="api-pipeline-runs"),
    path("pipeline-runs/<uuid:run_id>/", OneRun.as_view(), name="api-pipeline-run"),
    path("pipeline-runs/<uuid:run_id>/cancel/", RunCancel.as_view(), name="api-pipeline-run-cancel"),
    path("pipeline-runs/<uuid:run_id>/retry/", RunRetry.as_view(), name="api-pipeline-run-retry"),
    path("presets/", Presets.as_view(), name="api-presets"),
    path("presets/<uuid:preset_id>/", OnePreset.as_view(), name="api-preset"),
    path("presets/<uuid:preset_id>/launch/", PresetLaunch.as_view(), name="api-preset-launch"),
    path("schedules/", Schedules.as_view(), name="api-schedules"),
    path("schedules/<uuid:schedule_id>/", OneSchedule.as_view(), name="api-schedule"),
    path("schedules/<uuid:schedule_id>/pause/", SchedulePause.as_view(), name="api-schedule-pause"),
    path("schedules/<uuid:schedule_id>/resume/", ScheduleResume.as_view(), name="api-schedule-resume"),
    path("schedules/<uuid:schedule_id>/run/", ScheduleLaunch.as_view(), name="api-schedule-run"),
    path("schedules/<uuid:schedule_id>/runs/", ScheduleRuns.as_view(), name="api-schedule-runs"),
]
