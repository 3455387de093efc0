"""REST endpoint for how a dataset's columns were read, and for a person's choices."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from models_app import queries
from models_app.datasets import column_choices
from models_app.tables.columns import contract
from tenants.errors import Invalid, NotFound
from tenants.parsing import parse_uuid
from tenants.web.views import ApiView


class ColumnReadingSerializer(serializers.Serializer[Any]):
    """How one column was read: the values in force, those inferred from the file, and those a person chose."""

    name = serializers.CharField()
    type = serializers.CharField(help_text="numeric, boolean, datetime, categorical, text or empty")
    role = serializers.CharField(help_text="feature, identifier or target")
    number = serializers.CharField(help_text=f"How numbers are written: {', '.join(contract.NUMBERS)}")
    date = serializers.CharField(help_text=f"The order of a date: {', '.join(contract.DATES)}")
    missing = serializers.ListField(child=serializers.CharField(), help_text="Words that mean a missing value")
    spelling = serializers.ListField(child=serializers.CharField(), help_text="How false and true are written")
    inferred = serializers.DictField(help_text="What the file showed")
    chosen = serializers.DictField(help_text="What a member set instead")
    evidence = serializers.CharField(help_text="Why it was read so; empty where nothing is odd")
    ambiguous = serializers.CharField(help_text="What the file leaves ambiguous, and how it was read")
    values = serializers.IntegerField()
    can_be = serializers.DictField(help_text="How many values fit each type")
    taken_as_missing = serializers.DictField(help_text="How often each word was read as missing")
    odd = serializers.ListField(
        child=serializers.DictField(), help_text="value, count and rows of cells that do not fit"
    )


class ReadingSerializer(serializers.Serializer[Any]):
    """How a version of a dataset was read."""

    dataset = serializers.UUIDField()
    version = serializers.UUIDField()
    number = serializers.IntegerField()
    state = serializers.CharField(help_text="ingesting, ready or failed")
    file = serializers.DictField(help_text="format, encoding, delimiter, skipped lines, sheet; `chosen`: by a person")
    columns = ColumnReadingSerializer(many=True)


class ChoicesSerializer(serializers.Serializer[Any]):
    """Choices for columns by name; null withdraws one."""

    version = serializers.UUIDField(required=False, help_text="The version to start from; the newest unless given")
    columns = serializers.DictField(required=False, help_text="column: any of type, role, missing, number, date")
    file = serializers.DictField(required=False, help_text="Of a text file: any of encoding, delimiter")


class DatasetColumns(ApiView):
    """How the columns of a dataset were read."""

    permissions = {"GET": "datasets.view", "PATCH": "datasets.create"}

    @extend_schema(
        parameters=[OpenApiParameter("version", str, description="Id of a version; the newest unless given.")],
        responses=ReadingSerializer,
    )
    def get(self, request: Request, dataset_id: UUID) -> Response:
        """Return how each column was read: type, role, words for missing values, formats, and the evidence."""
        version = self._version(dataset_id, request.query_params.get("version"))
        read = {
            "file": column_choices.file_reading(self.actor, version.id),
            "columns": column_choices.column_readings(self.actor, version.id),
        }
        return Response(ReadingSerializer(_head(dataset_id, version) | read).data)

    @extend_schema(request=ChoicesSerializer, responses=ReadingSerializer)
    def patch(self, request: Request, dataset_id: UUID) -> Response:
        """Read the file again with other choices. Creates the next version of the dataset, in state `ingesting`."""
        body = self.body()
        choices, writing = body.get("columns", {}), body.get("file", {})
        if not isinstance(choices, dict) or not isinstance(writing, dict) or not (choices or writing):
            raise Invalid(fields={"columns": ["Send an object of column names and choices."]})
        version = self._version(dataset_id, body.get("version"))
        made = column_choices.choose_columns(actor=self.actor, version_id=version.id, choices=choices, writing=writing)
        found = queries.version_detail(self.actor, made.id)[1]
        return Response(ReadingSerializer(_head(dataset_id, found) | {"file": {}, "columns": []}).data)

    def _version(self, dataset_id: UUID, asked: Any) -> queries.VersionRow:
        if asked:
            owner, version = queries.version_detail(self.actor, parse_uuid(asked, "version"))
            if owner != dataset_id:
                raise NotFound
            return version
        return queries.dataset_detail(self.actor, dataset_id).latest


def _head(dataset_id: UUID, version: queries.VersionRow) -> dict[str, Any]:
    return {"dataset": dataset_id, "version": version.id, "number": version.number, "state": version.state}
