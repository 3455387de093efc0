"""REST endpoint of what a batch prediction made."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app import batch, serializers, storage
from tenants.edges import Endpoint


class JobResult(Endpoint):
    """The files of a batch prediction."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(responses=serializers.BatchResultSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Answer rows, what a thousand of them cost, and links to the files that are good for five minutes."""
        found = batch.result(self.actor, job_id)
        return Response(
            {
                "rows": found.rows,
                "cost_per_1000": found.cost_per_1000.json(),
                "expires_in_s": storage.MAX_LINK_S,
                "files": [asdict(file) for file in found.files],
            }
        )


urlpatterns = [path("jobs/<uuid:job_id>/result/", JobResult.as_view(), name="api-job-result")]
