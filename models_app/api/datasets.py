"""REST endpoints for datasets, recipes and models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from models_app import queries
from models_app.api import serializers
from models_app.datasets import operations, removal, uploads
from models_app.tables import writing
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.parsing import parse_uuid
from tenants.queries import find_project
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE, whole
from tenants.web.views import ApiView

NAME = OpenApiParameter("name", str, description="Only those whose name holds this text.")


class Datasets(ApiView):
    """Datasets of the tenant that the actor may see."""

    permissions = {"GET": "datasets.view", "POST": "datasets.create"}
    own_transaction = frozenset({"POST"})
    large_body = True
    parser_classes = (MultiPartParser,)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Cap the size of the upload before anything reads the body."""
        uploads.cap_uploads(request)
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        operation_id="datasets_list",
        parameters=[NAME, *PAGE],
        responses=page_of(serializers.DatasetSerializer),
    )
    def get(self, request: Request) -> Response:
        """List datasets, newest first."""
        name = request.query_params.get("name", "")
        rows = queries.dataset_list(self.actor, name=name, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, serializers.DatasetSerializer, lambda row: [row.id])

    @extend_schema(
        request={"multipart/form-data": serializers.DatasetUploadSerializer},
        responses={201: serializers.DatasetSerializer},
    )
    def post(self, request: Request) -> Response:
        """Upload a CSV, Excel, JSON or Parquet file, plain or gzipped. An existing name gets a new version.

        The size limit is 500 MiB unless the installation sets another (`EXCHEQUER_MAX_UPLOAD_MB`). `encoding` and
        `delimiter` describe a text file; if omitted, they are detected. The response is immediate, with `state`
        ingesting. Uploading the same bytes with the same target and choices returns the same version.
        """
        file = uploads.uploaded_file(request)
        fields = request.POST
        version = operations.upload(
            actor=self.actor,
            name=str(fields.get("name", "")),
            file=file,
            filename=file.name or "",
            target=str(fields.get("target", "")),
            audience=operations.Audience(
                self._project(str(fields.get("project", ""))), restricted=_yes(fields.get("restricted", "false"))
            ),
            writing={key: str(fields.get(key, "")) for key in writing.KEYS},
        )
        with tenant_scope(self.actor.tenant_id):
            dataset = queries.dataset_detail(self.actor, version.dataset_id)
            shown = next(row for row in dataset.history if row.id == version.id)
            return Response(serializers.DatasetSerializer(replace(dataset, latest=shown)).data, status=201)

    def _project(self, text: str) -> UUID | None:
        """Return the id of the project of an upload, which runs outside a scope. Raises Invalid."""
        if not text:
            return None
        with tenant_scope(self.actor.tenant_id):
            found = find_project(text)
        if found is None:
            raise Invalid(fields={"project": ["There is no such project."]})
        return found.id


class Dataset(ApiView):
    """Show, move, restrict or remove a dataset."""

    permissions = {"GET": "datasets.view", "PATCH": "datasets.share", "DELETE": "datasets.create"}

    @extend_schema(operation_id="datasets_retrieve", responses=serializers.DatasetSerializer)
    def get(self, request: Request, dataset_id: UUID) -> Response:
        """Return a dataset with its newest version."""
        return Response(serializers.DatasetSerializer(queries.dataset_detail(self.actor, dataset_id)).data)

    @extend_schema(request=serializers.DatasetChangeSerializer, responses=serializers.DatasetSerializer)
    def patch(self, request: Request, dataset_id: UUID) -> Response:
        """Restrict a dataset to those it is shared with, lift the restriction, or move it to a project."""
        data = checked(serializers.DatasetChangeSerializer(data=request.data))
        if not data:
            raise Invalid(fields={"restricted": ["Send restricted or project_id."]})
        if "project_id" in data:
            operations.move(actor=self.actor, dataset_id=dataset_id, project_id=data["project_id"])
        if "restricted" in data:
            operations.restrict(actor=self.actor, dataset_id=dataset_id, restricted=data["restricted"])
        return Response(serializers.DatasetSerializer(queries.dataset_detail(self.actor, dataset_id)).data)

    @extend_schema(
        operation_id="datasets_destroy",
        parameters=[OpenApiParameter("all", bool, description="Every version, those that were read too.")],
        responses={204: None},
    )
    def delete(self, request: Request, dataset_id: UUID) -> Response:
        """Remove the failed versions of a dataset, and the dataset itself if none is left.

        With `all=true`, remove every version as `datasets/{id}/versions/{version_id}/` does: files, tables and profiles
        go permanently, names, hashes and counts stay. `datasets/{id}/hangs/` lists what was made from them. 409
        `dataset_in_use` while an unfinished job uses a version or, without `all`, if no version has failed; 409
        `dataset_ingesting` while a file is being read.
        """
        if _yes(request.query_params.get("all", "false"), "all"):
            removal.remove_dataset(actor=self.actor, dataset_id=dataset_id)
        else:
            operations.remove_failed(actor=self.actor, dataset_id=dataset_id)
        return Response(status=204)


class DatasetProfile(ApiView):
    """What a dataset's columns hold."""

    permissions = {"GET": "datasets.view"}

    @extend_schema(
        parameters=[
            OpenApiParameter("version", str, description="Id of a version; the newest ready one unless given.")
        ],
        responses=serializers.ProfileSerializer,
    )
    def get(self, request: Request, dataset_id: UUID) -> Response:
        """Return types, missing values, distributions, and each column's relation to the target."""
        asked = request.query_params.get("version")
        return Response(queries.profile(self.actor, dataset_id, parse_uuid(asked, "version") if asked else None))


class Recipes(ApiView):
    """The catalogue of recipes."""

    permissions = {"GET": "recipes.view"}

    @extend_schema(responses=page_of(serializers.RecipeSerializer))
    def get(self, request: Request) -> Response:
        """List recipes with their cards and the JSON Schema of their parameters."""
        return self.whole(queries.recipe_cards(), serializers.RecipeSerializer)


class Models(ApiView):
    """Models of the tenant."""

    permissions = {"GET": "models.view"}

    @extend_schema(parameters=[NAME, *PAGE], responses=page_of(serializers.ModelSerializer))
    def get(self, request: Request) -> Response:
        """List models, newest first."""
        name = request.query_params.get("name", "")
        rows = queries.model_list(self.actor, name=name, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, serializers.ModelSerializer, lambda row: [row.id])


class ModelVersions(ApiView):
    """Versions of one model."""

    permissions = {"GET": "models.view"}

    @extend_schema(parameters=PAGE, responses=page_of(serializers.ModelVersionSerializer))
    def get(self, request: Request, model_id: UUID) -> Response:
        """List a model's versions, newest first."""
        rows = queries.version_list(self.actor, model_id, before=self.before(whole), limit=self.page_size())
        return self.paginated(rows, serializers.ModelVersionSerializer, lambda row: [row.number])


class VersionLineage(ApiView):
    """Where one version comes from."""

    permissions = {"GET": "models.view"}

    @extend_schema(responses=serializers.LineageSerializer)
    def get(self, request: Request, version_id: UUID) -> Response:
        """Return the data, code, run, cost and signature of a version."""
        return Response(serializers.LineageSerializer(queries.lineage(self.actor, version_id)).data)


def _yes(value: Any, name: str = "restricted") -> bool:
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0", "on", "off", ""):
        raise Invalid(fields={name: ["Send true or false."]})
    return word in ("true", "1", "on")
