"""Pages of datasets, the launch form, models and endpoints."""

from django.urls import URLPattern, path

from models_app.views.columns import dataset_columns
from models_app.views.compare import compare
from models_app.views.dataset_actions import (
    dataset_move,
    dataset_remove,
    dataset_remove_all,
    dataset_restrict,
    dataset_version_remove,
)
from models_app.views.datasets import dataset, dataset_row, dataset_status, datasets, upload
from models_app.views.endpoint_actions import endpoint_key_create, endpoint_key_revoke, endpoint_try
from models_app.views.endpoints import (
    deploy,
    endpoint,
    endpoint_list,
    endpoint_live,
    endpoint_traffic,
    endpoint_undeploy,
)
from models_app.views.exports import export_download, export_order, exports_page
from models_app.views.launches.batch import batch_launch, batch_quote, job_result
from models_app.views.launches.train import launch, parameters, quote
from models_app.views.models import model, model_download, model_version, models
from models_app.views.pipelines import (
    pipeline,
    pipeline_change,
    pipeline_launch,
    pipeline_list,
    pipeline_new,
    pipeline_remove,
    pipeline_run,
    pipeline_run_cancel,
    pipeline_run_live,
    pipeline_run_retry,
)
from models_app.views.presets.pages import preset, preset_list, preset_remove
from models_app.views.schedules.actions import schedule_pause, schedule_remove, schedule_resume, schedule_run
from models_app.views.schedules.pages import (
    schedule,
    schedule_change,
    schedule_list,
    schedule_new,
    schedule_preview,
)
from models_app.views.stage_changes import approve, decline, promote

urlpatterns: list[URLPattern] = [
    path("datasets/", datasets, name="datasets"),
    path("datasets/upload/", upload, name="dataset-upload"),
    path("datasets/<uuid:dataset_id>/", dataset, name="dataset"),
    path("datasets/<uuid:dataset_id>/remove/", dataset_remove, name="dataset-remove"),
    path("datasets/<uuid:dataset_id>/remove-all/", dataset_remove_all, name="dataset-remove-all"),
    path(
        "datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/remove/",
        dataset_version_remove,
        name="dataset-version-remove",
    ),
    path(
        "datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/columns/", dataset_columns, name="dataset-columns"
    ),
    path("datasets/<uuid:dataset_id>/restrict/", dataset_restrict, name="dataset-restrict"),
    path("datasets/<uuid:dataset_id>/move/", dataset_move, name="dataset-move"),
    path("datasets/<uuid:dataset_id>/row/", dataset_row, name="dataset-row"),
    path("datasets/<uuid:dataset_id>/status/", dataset_status, name="dataset-status"),
    path("jobs/new/", launch, name="job-launch"),
    path("jobs/new/quote/", quote, name="job-quote"),
    path("jobs/new/parameters/", parameters, name="job-parameters"),
    path("jobs/new/batch/", batch_launch, name="job-batch"),
    path("jobs/new/batch/quote/", batch_quote, name="job-batch-quote"),
    path("jobs/<uuid:job_id>/result/", job_result, name="job-result"),
    path("endpoints/", endpoint_list, name="endpoints"),
    path("endpoints/new/", deploy, name="endpoint-deploy"),
    path("endpoints/<uuid:endpoint_id>/", endpoint, name="endpoint"),
    path("endpoints/<uuid:endpoint_id>/live/", endpoint_live, name="endpoint-live"),
    path("endpoints/<uuid:endpoint_id>/traffic/", endpoint_traffic, name="endpoint-traffic"),
    path("endpoints/<uuid:endpoint_id>/try/", endpoint_try, name="endpoint-try"),
    path("endpoints/<uuid:endpoint_id>/undeploy/", endpoint_undeploy, name="endpoint-undeploy"),
    path("endpoints/<uuid:endpoint_id>/keys/", endpoint_key_create, name="endpoint-key-create"),
    path(
        "endpoints/<uuid:endpoint_id>/keys/<uuid:endpoint_key_id>/revoke/",
        endpoint_key_revoke,
        name="endpoint-key-revoke",
    ),
    path("exports/", exports_page, name="exports"),
    path("exports/order/", export_order, name="export-order"),
    path("exports/<uuid:export_id>/file/", export_download, name="export-download"),
    path("models/", models, name="models"),
    path("models/compare/", compare, name="model-compare"),
    path("models/<uuid:model_id>/", model, name="model"),
    path("models/versions/<uuid:version_id>/", model_version, name="model-version"),
    path("models/versions/<uuid:version_id>/promote/", promote, name="model-promote"),
    path("models/versions/<uuid:version_id>/approve/", approve, name="model-approve"),
    path("models/versions/<uuid:version_id>/decline/", decline, name="model-decline"),
    path("models/versions/<uuid:version_id>/weights/", model_download, name="model-download"),
    path("pipelines/", pipeline_list, name="pipelines"),
    path("pipelines/new/", pipeline_new, name="pipeline-new"),
    path("pipelines/<uuid:pipeline_id>/", pipeline, name="pipeline"),
    path("pipelines/<uuid:pipeline_id>/change/", pipeline_change, name="pipeline-change"),
    path("pipelines/<uuid:pipeline_id>/launch/", pipeline_launch, name="pipeline-launch"),
    path("pipelines/<uuid:pipeline_id>/remove/", pipeline_remove, name="pipeline-remove"),
    path("pipelines/runs/<uuid:run_id>/", pipeline_run, name="pipeline-run"),
    path("pipelines/runs/<uuid:run_id>/live/", pipeline_run_live, name="pipeline-run-live"),
    path("pipelines/runs/<uuid:run_id>/cancel/", pipeline_run_cancel, name="pipeline-run-cancel"),
    path("pipelines/runs/<uuid:run_id>/retry/", pipeline_run_retry, name="pipeline-run-retry"),
    path("presets/", preset_list, name="saved-launches"),
    path("presets/<uuid:preset_id>/", preset, name="saved-launch"),
    path("presets/<uuid:preset_id>/remove/", preset_remove, name="saved-launch-remove"),
    path("schedules/", schedule_list, name="schedules"),
    path("schedules/new/", schedule_new, name="schedule-new"),
    path("schedules/preview/", schedule_preview, name="schedule-preview"),
    path("schedules/<uuid:schedule_id>/", schedule, name="schedule"),
    path("schedules/<uuid:schedule_id>/change/", schedule_change, name="schedule-change"),
    path("schedules/<uuid:schedule_id>/pause/", schedule_pause, name="schedule-pause"),
    path("schedules/<uuid:schedule_id>/resume/", schedule_resume, name="schedule-resume"),
    path("schedules/<uuid:schedule_id>/run/", schedule_run, name="schedule-run"),
    path("schedules/<uuid:schedule_id>/remove/", schedule_remove, name="schedule-remove"),
]
