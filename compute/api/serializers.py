"""Serializers of this app's API: they describe its responses and make them of the rows of its queries."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.fields import MoneySerializer
from compute.api.quote_shapes import JobQuoteSerializer, Rounded
from compute.jobs.job_request import TIERS
from compute.limits import MOST_DEVICES
from compute.models import JobState
from compute.queries import JobDetail
from tenants.web.body_fields import TextOrNull

STATES = JobState.values


class RequestMoreSerializer(serializers.Serializer[Any]):
    """A request for a higher budget, sent only if a budget refuses the launch."""

    reason = serializers.CharField(max_length=500)
    amount = serializers.CharField(required=False, help_text="the new budget; by default it grows by what is missing")
    this_month = serializers.BooleanField(
        default=True, help_text="for the budget's running month, quarter or year only"
    )


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
    devices = serializers.IntegerField(
        default=1,
        min_value=1,
        max_value=MOST_DEVICES,
        help_text="`train`: on so many at once, all of which it waits for and pays.",
    )
    share = serializers.CharField(
        default="1",
        max_length=7,
        help_text="What it has of one device: a part for which the class is open, such as 1/2, at that part of the price.",
    )
    one_node = serializers.BooleanField(
        default=True,
        help_text="All of them on one host; else they may be on several, which train together over an encrypted connection.",
    )
    node_labels = serializers.DictField(
        child=serializers.CharField(),
        required=False,
        help_text='It runs only on hosts that carry all these labels, which operators set, such as `{"zone": "eu"}`.',
    )
    tier = serializers.ChoiceField(
        choices=TIERS,
        default="on_demand",
        help_text="`spot` costs less and gives way to any other work: it is stopped with a checkpoint, waits and goes on. See `spot` of a quote.",
    )
    max_seconds = serializers.IntegerField(
        required=False, allow_null=True, help_text="The estimate sets it unless given: see `max_seconds` of a quote."
    )
    max_cost = serializers.CharField(required=False, allow_null=True)
    tags = serializers.DictField(child=serializers.CharField(), required=False)
    quote = serializers.UUIDField(required=False, allow_null=True)
    request_more = RequestMoreSerializer(
        required=False,
        allow_null=True,
        help_text="If a budget or a quota of the month refuses the launch, keep it: it waits, without money or device, until the request is answered.",
    )


class AttemptSerializer(serializers.Serializer[Any]):
    """One run of a job on one device."""

    id = serializers.UUIDField()
    device = serializers.CharField()
    device_class = serializers.CharField()
    node = serializers.CharField()
    state = serializers.CharField()
    cause = serializers.CharField()
    message = serializers.CharField()
    start = serializers.DateTimeField(source="started_at", allow_null=True, help_text="of its running time")
    end = serializers.DateTimeField(source="ended_at", allow_null=True)
    billed_seconds = serializers.CharField()
    cost = MoneySerializer()
    on_demand_cost = MoneySerializer(
        allow_null=True,
        help_text="Of a spot job: what its seconds would have cost on demand, less a repeated start-up.",
    )


class JobSerializer(serializers.Serializer[Any]):
    """A job in a list."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()
    project = serializers.UUIDField(source="project_id")
    project_slug = serializers.CharField(source="project")
    submitted_by = serializers.CharField(source="submitted_by_label")
    device_class = serializers.CharField()
    devices = serializers.IntegerField(help_text="How many it needs at once.")
    share = serializers.CharField(source="share_said", help_text="What it has of its device: 1, or a part such as 1/2.")
    one_node = serializers.BooleanField(help_text="Whether it needs them all on one host.")
    node_labels = serializers.DictField(child=serializers.CharField(), help_text="Of the hosts on which it may run.")
    tier = serializers.CharField()
    tags = serializers.DictField(child=serializers.CharField())
    state = serializers.ChoiceField(choices=STATES)
    cause = TextOrNull(allow_null=True)
    message = serializers.CharField()
    progress = serializers.DictField()
    position = serializers.IntegerField(
        allow_null=True,
        help_text="While it waits: its place among the jobs of the organisation for the class, 1 is next.",
    )
    wait_reason = TextOrNull(
        allow_null=True,
        help_text="Why it does not start, at the last sweep: limit, at_once (of its job set), back_off, too_big, vacating, scattered, labels, guaranteed or turn.",
    )
    expected_start_at = serializers.DateTimeField(
        allow_null=True, help_text="While it waits: when it is expected to start, by the expected ends of what runs."
    )
    submitted_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    billed_seconds = serializers.CharField()
    cost = MoneySerializer()
    earlier_costs = MoneySerializer(
        many=True, help_text="what is billed besides in a currency that a contract has changed; empty without one"
    )


class JobDetailSerializer(JobSerializer):
    """A job; its kind adds fields of its own, `model_version` for `train`."""

    waiting_for = serializers.DictField(
        allow_null=True,
        help_text="Why it does not run: `kind` (device, quota, retry, earlier_attempt, approval, budget), `reason`, and the facts behind. `expected_start_error`: how far earlier expectations were off.",
    )
    max_seconds = serializers.IntegerField()
    max_cost = MoneySerializer(allow_null=True)
    quote = JobQuoteSerializer(source="quoted", allow_null=True)
    unit_amount = MoneySerializer(source="unit_price", help_text="What a second costs.")
    price_version = serializers.UUIDField(allow_null=True)
    on_demand_cost = MoneySerializer(allow_null=True, help_text="Of a spot job: what it would have cost on demand.")
    spot_saving = MoneySerializer(allow_null=True, help_text="Of a spot job: how much less it costs than on demand.")
    cloned_from = serializers.UUIDField(allow_null=True)
    job_set = serializers.UUIDField(allow_null=True)
    attempts = AttemptSerializer(many=True)

    def to_representation(self, instance: JobDetail) -> dict[str, Any]:
        """Answer the kind's words first; compute's own win."""
        return instance.described | super().to_representation(instance)


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
    """Device seconds of one group: allocated = used + idle, capacity = allocated + held + free; and their cost.

    `energy_kwh` is null where no device measures its power.
    """

    group = serializers.DictField(child=serializers.CharField())
    capacity_s = Rounded(decimals=6)
    allocated_s = Rounded(decimals=6)
    used_s = Rounded(decimals=6)
    idle_s = Rounded(decimals=6)
    held_s = Rounded(decimals=6)
    free_s = Rounded(decimals=6)
    allocated_cost = MoneySerializer()
    used_cost = MoneySerializer()
    idle_cost = MoneySerializer()
    energy_kwh = Rounded(decimals=6, allow_null=True)
