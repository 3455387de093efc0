"""The tables of organisations and their projects."""

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models

from tenants.access.standing import STANDINGS
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel

slug_rules = RegexValidator(
    r"^[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?$",
    "Use 1 to 50 small letters, digits and dashes; begin and end with a letter or digit.",
)


class Tenant(models.Model):
    """An organisation: the boundary that no row crosses."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=50, unique=True, validators=[slug_rules])
    name = models.CharField(max_length=120)
    timezone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3, default="EUR")
    self_approval = models.BooleanField(default=False)
    second_factor_required = models.BooleanField(default=False)
    #: People with an address in a proven domain come in by the identity provider alone.
    provider_required = models.BooleanField(default=False)
    #: Set by operators alone; the web role has no right to these columns.
    standing = models.CharField(max_length=10, choices=[(one, one) for one in STANDINGS], default="active")
    #: What a tenant that closes was before, and is again when an operator restores it.
    standing_before = models.CharField(max_length=10, blank=True, default="")
    standing_reason = models.TextField(blank=True, default="")
    #: The reason of the standing before a closing, while it can be undone.
    reason_before = models.TextField(blank=True, default="", db_default="")
    closes_at = models.DateTimeField(null=True)
    #: A project or a dataset is restricted, or once was: a trigger sets it, nothing resets it. Where it is false, nothing is
    #: hidden from those who may read, and reads need no condition.
    has_restricted = models.BooleanField(default=False, db_default=False)
    #: An operator ordered that what a closed tenant stored is erased, and when that was done; its usage and ledger stay.
    erase_ordered_at = models.DateTimeField(null=True)
    erased_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        indexes = [
            models.Index(
                fields=["erase_ordered_at"],
                name="tenant_to_erase",
                condition=models.Q(erase_ordered_at__isnull=False, erased_at=None),
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(erase_ordered_at=None) | models.Q(standing="closed"),
                name="tenant_erased_when_closed",
            ),
            models.CheckConstraint(
                condition=models.Q(erased_at=None) | models.Q(erase_ordered_at__isnull=False),
                name="tenant_erased_by_order",
            ),
            models.CheckConstraint(condition=models.Q(standing__in=STANDINGS), name="tenant_standing_known"),
            models.CheckConstraint(
                condition=models.Q(closes_at=None) | models.Q(standing__in=("closing", "closed")),
                name="tenant_closes_when_closing",
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class Project(TenantModel):
    """A cost centre: jobs, budgets and invoice lines belong to one.

    `restricted`: only those with a grant in it, owners and admins see what is in it. `archived_at`: nothing new starts in it.
    """

    slug = models.CharField(max_length=50, validators=[slug_rules])
    name = models.CharField(max_length=120)
    restricted = models.BooleanField(default=False, db_default=False)
    archived_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="project_slug_once")]

    def __str__(self) -> str:
        return self.slug


class TenantExport(TenantModel):
    """An archive of everything of the tenant, ordered by an owner or an operator, built by the ops worker, kept for days.

    `name` is the key of the object, encrypted with the tenant's data key; it, `sha256` and `size` are set once it is ready,
    `files` and `missing` count the stored files in it and those that the store no longer has. `message`: why it failed.
    `started_at` moves on while its worker lives.
    """

    STATES: ClassVar = ("queued", "running", "ready", "failed", "expired")

    state = models.CharField(max_length=8, default="queued", choices=[(one, one) for one in STATES])
    ordered_by = models.CharField(max_length=254)
    reason = models.CharField(max_length=400, blank=True, default="")
    ordered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    name = models.CharField(max_length=300, blank=True, default="")
    sha256 = models.CharField(max_length=64, blank=True, default="")
    size = models.BigIntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    without_files = models.BooleanField(default=False, db_default=False)
    files = models.BigIntegerField(default=0, db_default=0)
    missing = models.BigIntegerField(default=0, db_default=0)
    message = models.CharField(max_length=400, blank=True, default="", db_default="")

    class Meta(TenantModel.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], name="export_one_at_once", condition=models.Q(state__in=("queued", "running"))
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=("queued", "running", "ready", "failed", "expired")),
                name="export_state_known",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-id"], name="export_newest"),
            # What the worker looks for, over all tenants.
            models.Index(
                fields=["ordered_at"], name="export_due", condition=models.Q(state__in=("queued", "running", "ready"))
            ),
        ]

    def __str__(self) -> str:
        return self.state
