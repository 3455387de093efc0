"""REST endpoints for monitoring: traffic, drift, alerts and feedback."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.measures import time_ranges
from models_app.monitoring import feedback, health
from models_app.monitoring.timeseries import Step
from tenants.errors import Invalid
from tenants.web.openapi import page_of
from tenants.web.views import ApiView

RANGE = OpenApiParameter("range", str, enum=list(time_ranges.CHOICES), description="How far back; 24h unless given.")


class Percentile(serializers.FloatField):
    """The latency below which a share of a step's requests stayed; null without any."""

    def __init__(self, share: float) -> None:
        super().__init__(source="percentile", allow_null=True)
        self.share = share

    def get_attribute(self, instance: Step) -> float | None:
        """Return it of a step."""
        return instance.percentile(self.share)


class TrafficStepSerializer(serializers.Serializer[Any]):
    """Requests in one time step."""

    starts = serializers.DateTimeField()
    requests = serializers.IntegerField(help_text="Answered and refused")
    rows = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Server errors (5xx)")
    refused = serializers.IntegerField(help_text="Client errors (4xx)")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.IntegerField(), help_text="Requests by problem code"
    )
    p50_ms = Percentile(0.5)
    p95_ms = Percentile(0.95)
    compute_ms = serializers.FloatField(help_text="How long the model computed")
    busy_share = serializers.FloatField(help_text="Share of the step in which the slot computed")


class TrafficSerializer(page_of(TrafficStepSerializer)):  # type: ignore[misc]
    """Requests of an endpoint by time step, oldest first. `next` is always null: the span is complete."""

    results = TrafficStepSerializer(source="steps", many=True)
    start = serializers.DateTimeField(source="span.first")
    end = serializers.DateTimeField(source="span.end")
    step_s = serializers.IntegerField(source="span.step_s")
    requests = serializers.IntegerField(source="totals.requests")
    rows = serializers.IntegerField(source="totals.rows")
    error_share = serializers.FloatField(source="totals.error_share", allow_null=True)
    refused_share = serializers.FloatField(source="totals.refused_share", allow_null=True)
    p50_ms = serializers.FloatField(source="totals.p50", allow_null=True)
    p95_ms = serializers.FloatField(source="totals.p95", allow_null=True)
    p99_ms = serializers.FloatField(source="totals.p99", allow_null=True)


class FeatureDriftSerializer(serializers.Serializer[Any]):
    """Drift of one input, or of the predictions, against training."""

    name = serializers.CharField(help_text="Empty for the predictions")
    psi = serializers.FloatField(help_text="Population stability index; 0.1 and 0.2 are its usual lines")
    noise = serializers.FloatField(help_text="The index that chance alone explains for so many rows")
    rows = serializers.IntegerField(help_text="Rows that were evaluated; below 300 drift is not measured")
    drifted = serializers.BooleanField()
    bins = serializers.ListField(child=serializers.CharField())
    before = serializers.ListField(child=serializers.FloatField(), help_text="Share of each bin in training")
    after = serializers.ListField(child=serializers.FloatField(), help_text="Share of each bin in the last rows")


class LabelsSerializer(serializers.Serializer[Any]):
    """Feedback for the newest predictions."""

    count = serializers.IntegerField()
    figure = serializers.CharField(help_text="accuracy or rmse")
    value = serializers.FloatField(allow_null=True)
    expected = serializers.FloatField(allow_null=True, help_text="The same on test rows at training time")


class HealthAlertSerializer(serializers.Serializer[Any]):
    """A crossed threshold; open while `resolved_at` is null."""

    id = serializers.UUIDField()
    kind = serializers.CharField(help_text="drift, output, accuracy, latency or errors")
    subject = serializers.CharField(help_text="The input that drifted; `input` where what was sent was at fault")
    value = serializers.FloatField()
    threshold = serializers.FloatField()
    message = serializers.CharField()
    opened_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)


class HealthSerializer(serializers.Serializer[Any]):
    """Current state of the version that an endpoint serves."""

    endpoint_id = serializers.UUIDField()
    name = serializers.CharField()
    version_id = serializers.UUIDField()
    slo_ms = serializers.IntegerField()
    has_baseline = serializers.BooleanField(help_text="Without one, drift is not measured")
    drift = FeatureDriftSerializer(many=True)
    output = FeatureDriftSerializer(allow_null=True)
    labels = LabelsSerializer()
    alerts = HealthAlertSerializer(many=True)


class FeedbackItemSerializer(serializers.Serializer[Any]):
    """The ground truth of one prediction."""

    prediction_id = serializers.CharField(help_text="From the answer of the serving node")
    label = serializers.CharField(  # type: ignore[assignment]
        help_text="The true class, or a number; numbers, true and false need no quotes"
    )


class FeedbackSerializer(serializers.Serializer[Any]):
    """Ground-truth labels for 1 to 1,000 predictions of this endpoint."""

    items = FeedbackItemSerializer(many=True)


class FeedbackFaultSerializer(serializers.Serializer[Any]):
    """Why one item was not counted."""

    index = serializers.IntegerField()
    code = serializers.CharField(
        help_text="unknown_prediction, too_old, unknown_label, label_conflict or invalid",
    )
    message = serializers.CharField()


class FeedbackCountsSerializer(serializers.Serializer[Any]):
    """How many items were stored, and how many were not."""

    accepted = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Sent before with the same label; a prediction counts once")
    errors = FeedbackFaultSerializer(many=True)  # type: ignore[assignment]


class EndpointTraffic(ApiView):
    """Traffic of an endpoint."""

    permissions = {"GET": "endpoints.view"}

    @extend_schema(parameters=[RANGE], responses=TrafficSerializer)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Return requests, errors and latency by time step; counts lag some seconds behind."""
        found = health.traffic(self.actor, endpoint_id, _range(request))
        return Response(TrafficSerializer(found).data)


class EndpointHealth(ApiView):
    """State of the served version."""

    permissions = {"GET": "endpoints.view"}

    @extend_schema(responses=HealthSerializer)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Return drift by input, predictions against training, labels and alerts."""
        return Response(HealthSerializer(health.health(self.actor, endpoint_id)).data)


class EndpointFeedback(ApiView):
    """Feedback for an endpoint."""

    permissions = {"POST": "endpoints.feedback"}

    @extend_schema(request=FeedbackSerializer, responses=FeedbackCountsSerializer)
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Store ground truth for predictions; each counts once. A bad item is reported, the others count."""
        items = self.body().get("items")
        if not isinstance(items, list):
            raise Invalid(fields={"items": ["Send a list of objects with prediction_id and label."]})
        return Response(
            FeedbackCountsSerializer(feedback.record(actor=self.actor, endpoint_id=endpoint_id, items=items)).data
        )


def _range(request: Request) -> str:
    key = request.query_params.get("range", time_ranges.DEFAULT)
    if key not in time_ranges.CHOICES:
        raise Invalid(fields={"range": [f"Choose among: {', '.join(time_ranges.CHOICES)}."]})
    return key
