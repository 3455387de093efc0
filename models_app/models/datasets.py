"""Datasets, their versions by content, and who may see a restricted one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F, Q, Value

from models_app.models.files import Stored
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.sharing.tables import SharedWithGroup, SharedWithPerson

if TYPE_CHECKING:
    from uuid import UUID


class Dataset(TenantModel):
    """A named table of data. `restricted`: only its creator, admins and those it is shared with see it.

    One of a `project` is seen by those who see the project, and those it is shared with; without, it is the
    organisation's.
    """

    name = models.CharField(max_length=120)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, null=True, related_name="+")
    restricted = models.BooleanField(default=False)
    created_by = models.UUIDField(null=True)
    created_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    if TYPE_CHECKING:
        project_id: UUID | None

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [models.UniqueConstraint("tenant", "name", name="models_app_dataset_name")]
        indexes: ClassVar = [models.Index(F("tenant"), F("id").desc(), name="models_app_dataset_newest")]

    def __str__(self) -> str:
        return self.name


class IngestState(models.TextChoices):
    """State of a version; `failed` has a code and a sentence, `removed` has lost its data but keeps its name and hash."""

    INGESTING = "ingesting"
    READY = "ready"
    FAILED = "failed"
    REMOVED = "removed"


class DatasetVersion(TenantModel):
    """One upload's content, read in one way. The same bytes, target and choices are the same version of a dataset.

    `choices`: a person's choices for columns, by name (`tables/columns/contract.py`), `writing` for the file
    (`tables/writing.py`); `choices_sha256`, of both, is empty if there are none. `reading`: what was inferred from the
    file and each column, with the evidence (`datasets/column_choices.py` reads it). `token` grows with each try to
    ingest and fences the writes of the previous one; `tries` restarts with an upload.
    """

    dataset = TenantForeignKey(Dataset, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    filename = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    target = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=9, choices=IngestState, default=IngestState.INGESTING)
    code = models.CharField(max_length=80, blank=True)
    message = models.TextField(blank=True)
    source_key = models.CharField(max_length=300)
    source_encrypted = models.BooleanField(default=False, db_default=False)
    data_key = models.CharField(max_length=300, blank=True)
    data_sha256 = models.CharField(max_length=64, blank=True)
    data_size = models.BigIntegerField(default=0)
    data_encrypted = models.BooleanField(default=False, db_default=False)
    rows = models.BigIntegerField(default=0)
    columns = models.JSONField(default=list)
    warnings = models.JSONField(default=list)
    profile = models.JSONField(default=dict)
    choices = models.JSONField(default=dict, db_default=Value({}, models.JSONField()))
    writing = models.JSONField(default=dict, db_default=Value({}, models.JSONField()))
    choices_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    reading = models.JSONField(default=dict, db_default=Value({}, models.JSONField()))
    token = models.PositiveIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(default=0, db_default=0)
    claimed_at = models.DateTimeField(null=True)
    uploaded_by = models.UUIDField(null=True)
    uploaded_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    ready_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)
    removed_by_label = models.CharField(max_length=254, blank=True, default="", db_default="")

    if TYPE_CHECKING:
        dataset_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "dataset", "number", name="models_app_version_number"),
            models.UniqueConstraint(
                "tenant", "dataset", "sha256", "target", "choices_sha256", name="models_app_version_content"
            ),
            models.CheckConstraint(condition=Q(state__in=IngestState.values), name="models_app_version_state"),
            models.CheckConstraint(
                condition=~Q(state="ready") | Q(data_key__gt="", rows__gt=0), name="models_app_version_ready_has_data"
            ),
            models.CheckConstraint(
                condition=~Q(state="failed") | Q(code__gt=""), name="models_app_version_failed_has_code"
            ),
            models.CheckConstraint(
                condition=~Q(state="removed") | Q(source_key="", data_key="", removed_at__isnull=False),
                name="models_app_version_removed_has_no_data",
            ),
        ]
        indexes: ClassVar = [
            models.Index("claimed_at", condition=Q(state="ingesting"), name="models_app_version_waiting")
        ]

    def __str__(self) -> str:
        return f"{self.dataset} v{self.number}"

    @property
    def source(self) -> Stored:
        """Return the uploaded file."""
        return Stored(self.source_key, self.sha256, self.size, self.source_encrypted)

    @property
    def table(self) -> Stored:
        """Return the canonical Parquet file."""
        return Stored(self.data_key, self.data_sha256, self.data_size, self.data_encrypted)


class DatasetUserPermission(SharedWithPerson):
    """One person's right to one dataset."""

    content_object = TenantForeignKey(Dataset, on_delete=models.CASCADE, related_name="shares")

    class Meta(SharedWithPerson.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "user", "permission", "content_object", name="models_app_share_once")
        ]


class DatasetGroupPermission(SharedWithGroup):
    """One group's right to one dataset."""

    content_object = TenantForeignKey(Dataset, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithGroup.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "group", "permission", "content_object", name="dataset_group_share_once")
        ]
