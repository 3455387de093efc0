"""Serializers of this app's responses, for the OpenAPI document, and their conversion from rows."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.serializers import MoneySerializer
from billing.money import Money
from compute.api.quote_shapes import JobQuoteSerializer
from compute.jobs.job_request import TIERS
from compute.queries import AttemptRow, DeviceRow, JobDetail, JobRow


class JobRequestSerializer(serializers.Serializer[Any]):
    """A job to run. A kind's own fields are at the top level, not within `params`.

    `train`: `recipe`, `dataset` (or `dataset_version`), `target`, `params`, `model`. `batch_predict`: `model_version`,
    `dataset` (or `dataset_version`).
    """

    name = serializers.CharField(max_length=120)
    kind = serializers.CharField(default="train")
    project = serializers.CharField(required=False, help_text="Id or slug; `default` unless given.")
    recipe = serializers.CharField(required=False, help_text="`train`: id of a recipe.")
    dataset = serializers.CharField(required=False, help_text="Id of a dataset: its newest version that is ready.")
    dataset_version = serializers.CharField(required=False, help_text="Id of one version instead.")
    target = serializers.CharField(
        required=False, help_text="`train`: the column to predict; the dataset's own unless given."
    )
    params = serializers.DictField(required=False, help_text="`train`: parameters by the recipe's `schema`.")
    leave_out = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="`train`: columns to leave out. Unless given: identifiers, constants and what gives the target away, as `left_out` of the answer says; `[]` keeps all.",
    )
    columns = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="`train`: columns to learn from, in place of `leave_out`.",
    )
    model = serializers.CharField(
        required=False, help_text="`train`: the model that gets the new version; the job's name unless given."
    )
    model_version = serializers.CharField(required=False, help_text="`batch_predict`: id of the version that predicts.")
    device_class = serializers.CharField(default="cpu")
    devices = serializers.IntegerField(default=1)
    tier = serializers.ChoiceField(choices=TIERS, default="on_demand")
    max_seconds = serializers.IntegerField(
        required=False, allow_null=True, help_text="The estimate sets it unless given: see `max_seconds` of a quote."
    )
    max_cost = serializers.CharField(required=False, allow_null=True)
    tags = serializers.DictField(child=serializers.CharField(), required=False)
    quote = serializers.UUIDField(required=False, allow_null=True)


class AttemptSerializer(serializers.Serializer[Any]):
    """One run of a job on one device."""

    id = serializers.UUIDField()
    device = serializers.CharField()
    device_class = serializers.CharField()
    node = serializers.CharField()
    state = serializers.CharField()
    cause = serializers.CharField()
    message = serializers.CharField()
    start = serializers.DateTimeField(allow_null=True)
    end = serializers.DateTimeField(allow_null=True)
    billed_seconds = serializers.CharField()
    cost = MoneySerializer()


class JobSerializer(serializers.Serializer[Any]):
    """A job; its kind adds fields of its own, `model_version` for `train`."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()
    project = serializers.UUIDField()
    project_slug = serializers.CharField()
    submitted_by = serializers.CharField()
    device_class = serializers.CharField()
    tier = serializers.CharField()
    tags = serializers.DictField(child=serializers.CharField())
    state = serializers.ChoiceField(choices=["queued", "running", "paused", "succeeded", "failed", "cancelled"])
    cause = serializers.CharField(allow_null=True)
    message = serializers.CharField()
    waiting_for = serializers.DictField(
        allow_null=True, required=False,
        help_text="Why it does not run: `kind` (device, retry, earlier_attempt, approval, budget), `reason`, and the facts behind.",
    )  # fmt: skip
    progress = serializers.DictField()
    submitted_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    billed_seconds = serializers.CharField()
    cost = MoneySerializer()
    max_seconds = serializers.IntegerField(required=False)
    max_cost = MoneySerializer(allow_null=True, required=False)
    quote = JobQuoteSerializer(allow_null=True, required=False)
    attempts = AttemptSerializer(many=True, required=False)


class LogSerializer(serializers.Serializer[Any]):
    """One line of a log."""

    position = serializers.IntegerField()
    at = serializers.DateTimeField()
    attempt = serializers.IntegerField()
    line = serializers.CharField()


class MetricSerializer(serializers.Serializer[Any]):
    """The values of one step."""

    step = serializers.IntegerField()
    at = serializers.DateTimeField()
    attempt = serializers.IntegerField()
    values = serializers.DictField(child=serializers.FloatField())


class DeviceSerializer(serializers.Serializer[Any]):
    """One device of the pool."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    node = serializers.CharField()
    device_class = serializers.CharField()
    kind = serializers.CharField()
    memory_bytes = serializers.IntegerField()
    state = serializers.CharField()
    state_reason = serializers.CharField()
    free = serializers.BooleanField()
    node_alive = serializers.BooleanField()
    node_seen_at = serializers.DateTimeField()
    missing_layers = serializers.ListField(child=serializers.CharField())
    serves = serializers.CharField(help_text="jobs, or inference for a slot that endpoints hold")


class UtilisationSerializer(serializers.Serializer[Any]):
    """Device seconds of one group: allocated = used + idle, capacity = allocated + held + free; and their cost."""

    group = serializers.DictField(child=serializers.CharField())
    capacity_s = serializers.FloatField()
    allocated_s = serializers.FloatField()
    used_s = serializers.FloatField()
    idle_s = serializers.FloatField()
    held_s = serializers.FloatField()
    free_s = serializers.FloatField()
    allocated_cost = MoneySerializer()
    used_cost = MoneySerializer()
    idle_cost = MoneySerializer()


def money(value: Money | None) -> dict[str, str] | None:
    """Return money in the API's format."""
    return None if value is None else value.json()


def job_row(row: JobRow) -> dict[str, Any]:
    """Return a job in the format of lists."""
    return {
        "id": str(row.id),
        "name": row.name,
        "kind": row.kind,
        "project": str(row.project_id),
        "project_slug": row.project,
        "submitted_by": row.submitted_by_label,
        "device_class": row.device_class,
        "tier": row.tier,
        "tags": row.tags,
        "state": row.state,
        "cause": row.cause or None,
        "message": row.message,
        "progress": row.progress,
        "submitted_at": row.submitted_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "billed_seconds": str(row.billed_seconds),
        "cost": row.cost.json(),
    }


def job_detail(row: JobDetail) -> dict[str, Any]:
    """Return a job in the format of its own URL: the kind's fields first, compute's own take precedence."""
    return row.described | {
        **job_row(row),
        "waiting_for": row.waiting_for,
        "max_seconds": row.max_seconds,
        "max_cost": money(row.max_cost),
        "quote": None if row.quoted is None else row.quoted.json(),
        "unit_amount": Money(row.unit_amount, row.cost.currency).json(),
        "price_version": str(row.price_version) if row.price_version else None,
        "cloned_from": str(row.cloned_from) if row.cloned_from else None,
        "attempts": [attempt(run) for run in row.attempts],
    }


def attempt(run: AttemptRow) -> dict[str, Any]:
    """Return one attempt; `start` and `end` bound its running time."""
    return {
        "id": str(run.id),
        "device": run.device,
        "device_class": run.device_class,
        "node": run.node,
        "state": run.state,
        "cause": run.cause,
        "message": run.message,
        "start": run.started_at,
        "end": run.ended_at,
        "billed_seconds": str(run.billed_seconds),
        "cost": run.cost.json(),
    }


def device(row: DeviceRow) -> dict[str, Any]:
    """Return one device."""
    return {
        "id": str(row.id),
        "name": row.name,
        "node": row.node,
        "device_class": row.device_class,
        "kind": row.kind,
        "memory_bytes": row.memory_bytes,
        "state": row.state,
        "state_reason": row.state_reason,
        "free": row.free,
        "node_alive": row.node_alive,
        "node_seen_at": row.node_seen_at,
        "missing_layers": list(row.missing_layers),
        "serves": row.serves,
    }
