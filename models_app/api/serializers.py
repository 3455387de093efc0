"""Serializers of this app's API: they describe its responses and make them of the rows of its queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from rest_framework import serializers

from billing.api.fields import MoneySerializer
from models_app.tables import writing


class ColumnSerializer(serializers.Serializer[Any]):
    """A column of a dataset."""

    name = serializers.CharField()
    kind = serializers.CharField(help_text="numeric, boolean, datetime, categorical, text or empty")
    distinct = serializers.IntegerField()
    tasks = serializers.ListField(child=serializers.CharField(), help_text="What the column can be the target of")


class DatasetVersionSerializer(serializers.Serializer[Any]):
    """One version of a dataset."""

    id = serializers.UUIDField()
    number = serializers.IntegerField()
    state = serializers.CharField(help_text="ingesting, ready, failed or removed")
    code = serializers.CharField(help_text="Why it failed, stable")
    message = serializers.CharField(help_text="Why it failed, and what to do")
    filename = serializers.CharField()
    sha256 = serializers.CharField()
    size = serializers.IntegerField()
    target = serializers.CharField()
    rows = serializers.IntegerField()
    columns = ColumnSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())
    uploaded_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    ready_at = serializers.DateTimeField(allow_null=True)
    removed_at = serializers.DateTimeField(allow_null=True, help_text="When its data was removed; name and hash stay")
    removed_by_label = serializers.CharField()


class DatasetSerializer(serializers.Serializer[Any]):
    """A dataset; `state`, `code`, `message` and `target` are of its newest version."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    restricted = serializers.BooleanField()
    project_id = serializers.UUIDField(allow_null=True, help_text="null: the whole organisation's")
    state = serializers.CharField(source="latest.state")
    code = serializers.CharField(source="latest.code")
    message = serializers.CharField(source="latest.message")
    target = serializers.CharField(source="latest.target")
    created_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    versions = serializers.IntegerField()
    version = DatasetVersionSerializer(source="latest")


class DatasetUploadSerializer(serializers.Serializer[Any]):
    """An upload, multipart."""

    name = serializers.CharField(max_length=120)
    file = serializers.FileField()
    target = serializers.CharField(max_length=200, required=False, allow_blank=True)
    restricted = serializers.BooleanField(required=False, default=False)
    project = serializers.CharField(
        required=False, help_text="Id or short name of its project; without, it is the organisation's"
    )
    encoding = serializers.ChoiceField(
        choices=list(writing.ENCODINGS), required=False, help_text="Of a text file; what its content shows unless given"
    )
    delimiter = serializers.ChoiceField(
        choices=[(sign, words) for sign, words in writing.DELIMITERS.items()],
        required=False,
        help_text="Of a text file; what its content shows unless given",
    )


class DatasetChangeSerializer(serializers.Serializer[Any]):
    """What can be changed about a dataset; omitted fields stay."""

    restricted = serializers.BooleanField(required=False)
    project_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="The project that it moves to; null: the whole organisation"
    )


class Named(serializers.ListField):
    """Pairs of id and name, answered as objects."""

    child = serializers.DictField()

    def to_representation(self, data: Iterable[tuple[UUID, str]]) -> list[Any]:
        """Answer pairs."""
        return [{"id": key, "name": name} for key, name in data]


class HangingSerializer(serializers.Serializer[Any]):
    """What was made from a dataset version, or will be. Lists name a few, counts are complete."""

    waiting = Named(help_text="Jobs that have not ended: id and name")
    waiting_hidden = serializers.IntegerField(help_text="Jobs that have not ended and are not shared with you")
    trainings = serializers.IntegerField()
    batches = serializers.IntegerField()
    models = Named(help_text="Model versions: id and name")
    versions = serializers.IntegerField(help_text="Model versions in all")
    endpoints = serializers.ListField(child=serializers.CharField())


class DatasetVersionDetailSerializer(DatasetVersionSerializer):
    """One version and its dependents."""

    hangs = HangingSerializer()


class ProfileSerializer(serializers.Serializer[Any]):
    """What the columns of a version hold, and how strongly each relates to the target."""

    version = serializers.DictField(help_text="id and number")
    format = serializers.IntegerField()
    rows = serializers.IntegerField()
    without_target = serializers.IntegerField(
        required=False, help_text="Rows without a target value: training leaves them out"
    )
    target = serializers.CharField(allow_null=True)
    task = serializers.CharField(allow_null=True)
    measure = serializers.CharField(
        allow_null=True, help_text="theil_u or epsilon_squared: what `power` of a column is"
    )
    warnings = serializers.ListField(child=serializers.CharField())
    columns = serializers.ListField(child=serializers.DictField())
    preview = serializers.DictField(
        required=False, help_text="`columns` and the first `rows` as short texts; absent for a version read before"
    )


class CardSerializer(serializers.Serializer[Any]):
    """What a recipe is good for."""

    summary = serializers.CharField()
    when = serializers.CharField()
    limits = serializers.CharField()


class RecipeSerializer(serializers.Serializer[Any]):
    """A recipe with its card and parameters."""

    id = serializers.CharField()
    version = serializers.CharField()
    title = serializers.CharField()
    task = serializers.CharField()
    card = CardSerializer()
    schema = serializers.DictField(help_text="JSON Schema of the parameters")


class ModelVersionSerializer(serializers.Serializer[Any]):
    """One version of a model."""

    id = serializers.UUIDField()
    model_id = serializers.UUIDField()
    model = serializers.CharField()
    number = serializers.IntegerField()
    stage = serializers.CharField()
    recipe = serializers.CharField()
    metrics = serializers.DictField()
    job_id = serializers.UUIDField()
    dataset_id = serializers.UUIDField()
    dataset = serializers.CharField()
    dataset_version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    requested_by = serializers.CharField(help_text="Who requested production; empty if nobody did")
    requested_at = serializers.DateTimeField(allow_null=True)
    approved_by = serializers.CharField(help_text="Who approved it for production; empty while the request waits")
    approved_at = serializers.DateTimeField(allow_null=True)
    cost = MoneySerializer()
    billed_seconds = serializers.CharField()
    artefact_sha256 = serializers.CharField(help_text="sha256 of the weights, a safetensors file")
    artefact_size = serializers.IntegerField(help_text="bytes of the weights")


class StageSerializer(serializers.Serializer[Any]):
    """The stage to move a version to."""

    stage = serializers.ChoiceField(choices=["registered", "staging", "production", "archived"])


class DeclineSerializer(serializers.Serializer[Any]):
    """Why a request for production is declined."""

    reason = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text="The member who asked is notified; the audit log keeps it",
    )


class StagedSerializer(ModelVersionSerializer):
    """A version after a move. `state`: promoted, or requested while an approver has yet to decide."""

    state = serializers.CharField()


class ModelSerializer(serializers.Serializer[Any]):
    """A model with its newest version."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    versions = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    latest = ModelVersionSerializer()


class LineageSerializer(ModelVersionSerializer):
    """Data, code, run and cost of one version."""

    dataset_version_id = serializers.UUIDField()
    dataset_state = serializers.CharField(help_text="ready, or removed when its data is gone")
    dataset_sha256 = serializers.CharField()
    dataset_rows = serializers.IntegerField()
    target = serializers.CharField()
    recipe_version = serializers.CharField()
    recipe_digest = serializers.CharField(help_text="sha256 of the recipe's source files")
    params = serializers.DictField()
    training = serializers.DictField()
    signature = serializers.DictField()
    attempt_id = serializers.UUIDField(allow_null=True)
    job_name = serializers.CharField()
    project_id = serializers.UUIDField()
    launched_by = serializers.CharField()


class ResultFileSerializer(serializers.Serializer[Any]):
    """One file of a result. Its URL works for anyone who may see the job, with a session or a key in the header."""

    format = serializers.CharField(help_text="parquet or csv")
    name = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    url = serializers.CharField()


class BatchResultSerializer(serializers.Serializer[Any]):
    """Result of a batch prediction, and its cost per thousand rows."""

    rows = serializers.IntegerField()
    read = serializers.ListField(
        child=serializers.CharField(), help_text="What to know of how the file was read, such as cells taken as missing"
    )
    cost_per_1000 = MoneySerializer()
    files = ResultFileSerializer(many=True)


class LinkSerializer(serializers.Serializer[Any]):
    """A download URL for those who may see the file, with a session or a key in the header."""

    url = serializers.CharField()
