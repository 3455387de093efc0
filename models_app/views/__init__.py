"""Pages of the learning room: datasets, the launch form, models."""

from django.urls import URLPattern, path

from models_app.views.batch import batch_launch, batch_quote, job_result
from models_app.views.datasets import dataset, dataset_row, dataset_status, datasets, upload
from models_app.views.launch import launch, parameters, quote
from models_app.views.models import model, model_download, model_version, models
from models_app.views.stages import approve, decline, promote

urlpatterns: list[URLPattern] = [
    path("datasets/", datasets, name="datasets"),
    path("datasets/upload/", upload, name="dataset-upload"),
    path("datasets/<uuid:dataset_id>/", dataset, name="dataset"),
    path("datasets/<uuid:dataset_id>/row/", dataset_row, name="dataset-row"),
    path("datasets/<uuid:dataset_id>/status/", dataset_status, name="dataset-status"),
    path("jobs/new/", launch, name="job-launch"),
    path("jobs/new/quote/", quote, name="job-quote"),
    path("jobs/new/parameters/", parameters, name="job-parameters"),
    path("jobs/new/batch/", batch_launch, name="job-batch"),
    path("jobs/new/batch/quote/", batch_quote, name="job-batch-quote"),
    path("jobs/<uuid:job_id>/result/", job_result, name="job-result"),
    path("models/", models, name="models"),
    path("models/<uuid:model_id>/", model, name="model"),
    path("models/versions/<uuid:version_id>/", model_version, name="model-version"),
    path("models/versions/<uuid:version_id>/promote/", promote, name="model-promote"),
    path("models/versions/<uuid:version_id>/approve/", approve, name="model-approve"),
    path("models/versions/<uuid:version_id>/decline/", decline, name="model-decline"),
    path("models/versions/<uuid:version_id>/weights/", model_download, name="model-download"),
]
