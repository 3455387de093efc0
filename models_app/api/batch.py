"""REST endpoints for the results of batch predictions."""

from __future__ import annotations

from uuid import UUID

from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api import serializers
from models_app.api.files import FileEndpoint
from models_app.batch import batch
from models_app.files import downloads
from tenants.web.views import ApiView


class JobResult(ApiView):
    """The result files of a batch prediction."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(responses=serializers.BatchResultSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Return row counts, the cost per thousand rows, and the download links."""
        found = batch.result(self.actor, job_id)
        files = [
            {
                "format": file.format,
                "name": file.name,
                "size": file.size,
                "sha256": file.sha256,
                "url": request.build_absolute_uri(reverse("api-job-result-file", args=(job_id, file.format))),
            }
            for file in found.files
        ]
        answer = {"rows": found.rows, "read": found.read, "cost_per_1000": found.cost_per_1000, "files": files}
        return Response(serializers.BatchResultSerializer(answer).data)


class JobResultFile(FileEndpoint):
    """One result file of a batch prediction."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(
        operation_id="jobs_result_file_retrieve", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, job_id: UUID, form: str) -> HttpResponseBase:
        """Return the predictions as `parquet` or `csv`. The download is recorded in the audit log."""
        return downloads.answer(request._request, self.actor, lambda: downloads.batch_file(self.actor, job_id, form))
