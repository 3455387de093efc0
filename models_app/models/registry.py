"""Models and their versions, with lineage and stored weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F, Q

from models_app.models.datasets import DatasetVersion
from models_app.models.files import Stored
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.sharing.tables import SharedWithGroup, SharedWithPerson

if TYPE_CHECKING:
    from uuid import UUID


class Stage(models.TextChoices):
    """Stages of a version."""

    REGISTERED = "registered"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


class Model(TenantModel):
    """A named model; each training job for it adds a version."""

    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [models.UniqueConstraint("tenant", "name", name="models_app_model_name")]
        indexes: ClassVar = [models.Index(F("tenant"), F("id").desc(), name="models_app_model_newest")]

    def __str__(self) -> str:
        return self.name


class ModelVersion(TenantModel):
    """The outcome of one job. Written once, when the job succeeds; only `stage` and its approval change afterwards.

    `baseline`: the distribution of the training data (`measures.baseline`), with which traffic is compared. Its cost is
    read from billing by `job_id`, so that later refunds show too.
    """

    model = TenantForeignKey(Model, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.REGISTERED)
    job_id = models.UUIDField()
    attempt_id = models.UUIDField(null=True)
    project_id = models.UUIDField()
    dataset_version = TenantForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")
    recipe = models.CharField(max_length=80)
    recipe_version = models.CharField(max_length=20)
    recipe_digest = models.CharField(max_length=64)
    params = models.JSONField()
    metrics = models.JSONField()
    training = models.JSONField(default=dict)
    signature = models.JSONField()
    baseline = models.JSONField(default=dict)
    artefact_key = models.CharField(max_length=300)
    artefact_sha256 = models.CharField(max_length=64)
    artefact_size = models.BigIntegerField()
    artefact_encrypted = models.BooleanField(default=False, db_default=False)
    signature_key = models.CharField(max_length=300)
    signature_sha256 = models.CharField(max_length=64)
    signature_size = models.BigIntegerField()
    signature_encrypted = models.BooleanField(default=False, db_default=False)
    created_by = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    requested_by = models.UUIDField(null=True)
    requested_by_label = models.CharField(max_length=254, blank=True)
    requested_at = models.DateTimeField(null=True)
    approved_by = models.UUIDField(null=True)
    approved_by_label = models.CharField(max_length=254, blank=True)
    approved_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        model_id: UUID
        dataset_version_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "model", "number", name="models_app_model_number"),
            models.UniqueConstraint("tenant", "job_id", name="models_app_one_version_a_job"),
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="models_app_known_stage"),
        ]

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"

    @property
    def weights(self) -> Stored:
        """Return the safetensors file."""
        return Stored(self.artefact_key, self.artefact_sha256, self.artefact_size, self.artefact_encrypted)

    @property
    def signature_file(self) -> Stored:
        """Return the signature file."""
        return Stored(self.signature_key, self.signature_sha256, self.signature_size, self.signature_encrypted)


class ModelUserPermission(SharedWithPerson):
    """One person's right to one model."""

    content_object = TenantForeignKey(Model, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithPerson.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "user", "permission", "content_object", name="model_share_once")
        ]


class ModelGroupPermission(SharedWithGroup):
    """One group's right to one model."""

    content_object = TenantForeignKey(Model, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithGroup.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "group", "permission", "content_object", name="model_group_share_once")
        ]
