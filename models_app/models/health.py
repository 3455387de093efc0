"""Tables of monitoring: traffic windows, feedback and alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q

from models_app.models.registry import ModelVersion
from models_app.models.serving import Endpoint
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID


class HealthWindow(TenantModel):
    """Sums of one minute of one version at one endpoint; windows add up, so any time range is a sum of rows.

    `latency`: counts by bucket of `measures.latency`. `inputs`: feature -> counts by bin of the version's baseline;
    `outputs`: counts by bin of its predictions. `errors`: problem code -> requests.
    """

    endpoint = TenantForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    version = TenantForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    minute = models.DateTimeField()
    requests = models.PositiveBigIntegerField(default=0)
    rows = models.PositiveBigIntegerField(default=0)
    compute_ms = models.FloatField(default=0)
    errors = models.JSONField(default=dict)
    latency = models.JSONField(default=list)
    inputs = models.JSONField(default=dict)
    outputs = models.JSONField(default=list)

    if TYPE_CHECKING:
        endpoint_id: UUID
        version_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "endpoint", "minute", "version", name="models_app_window_once")
        ]


class Feedback(TenantModel):
    """Ground truth of one prediction. `prediction` is the hash of the signed prediction id, so that it counts once."""

    endpoint = TenantForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    version = TenantForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    prediction = models.BinaryField()
    predicted = models.CharField(max_length=200)
    label = models.CharField(max_length=200)
    correct = models.BooleanField(null=True)
    error = models.FloatField(null=True)
    predicted_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    if TYPE_CHECKING:
        endpoint_id: UUID
        version_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [models.UniqueConstraint("tenant", "prediction", name="models_app_feedback_once")]
        indexes: ClassVar = [
            models.Index("tenant", "endpoint", "version", "predicted_at", name="models_app_feedback_recent")
        ]


class HealthAlert(TenantModel):
    """A crossed threshold, until it is back below. `subject`: the feature that drifted, else empty."""

    endpoint = TenantForeignKey(Endpoint, on_delete=models.CASCADE, related_name="alerts")
    version = TenantForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10)
    subject = models.CharField(max_length=200, blank=True)
    value = models.FloatField()
    threshold = models.FloatField()
    message = models.TextField()
    opened_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    resolved_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        endpoint_id: UUID
        version_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "tenant",
                "endpoint",
                "kind",
                "subject",
                condition=Q(resolved_at=None),
                name="models_app_alert_open_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["drift", "output", "accuracy", "latency", "errors"]), name="models_app_alert_kind"
            ),
        ]

    def __str__(self) -> str:
        return self.message
