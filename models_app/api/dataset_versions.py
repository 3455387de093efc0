"""REST endpoints of a dataset's versions."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app import queries
from models_app.api import serializers
from models_app.datasets import removal
from tenants.errors import NotFound
from tenants.web.views import ApiView


class DatasetHangs(ApiView):
    """Dependents of a dataset."""

    permissions = {"GET": "datasets.view"}

    @extend_schema(responses=serializers.HangingSerializer)
    def get(self, request: Request, dataset_id: UUID) -> Response:
        """Return the models and jobs made from any of its versions, and the jobs that block its removal."""
        return Response(serializers.HangingSerializer(removal.hangs_on_dataset(self.actor, dataset_id)).data)


class DatasetVersion(ApiView):
    """One version of a dataset."""

    permissions = {"GET": "datasets.view", "DELETE": "datasets.create"}

    @extend_schema(responses=serializers.DatasetVersionDetailSerializer)
    def get(self, request: Request, dataset_id: UUID, data_version_id: UUID) -> Response:
        """Return a version and its dependents: what would lose its data, and what blocks removal."""
        owner, version = queries.version_detail(self.actor, data_version_id)
        if owner != dataset_id:
            raise NotFound
        hangs = serializers.HangingSerializer(removal.hangs_on(self.actor, data_version_id)).data
        return Response({**serializers.DatasetVersionSerializer(version).data, "hangs": hangs})

    @extend_schema(responses={204: None})
    def delete(self, request: Request, dataset_id: UUID, data_version_id: UUID) -> Response:
        """Remove the file, table and profile of a version permanently; its name, hash and counts stay.

        Models trained on it stay too. 409 `dataset_in_use` while an unfinished job uses it.
        """
        removal.remove_version(actor=self.actor, dataset_id=dataset_id, version_id=data_version_id)
        return Response(status=204)
