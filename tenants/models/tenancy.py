"""Tables of the tenancy room. Writes go through `operations`, reads through `queries`."""

from typing import Any, ClassVar

from django.contrib.auth import hashers
from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    PermissionsMixin,
)
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from tenants.access.permissions import ROLES
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel
from tenants.models.audit import AuditEntry, AuditHead
from tenants.models.credentials import Credential
from tenants.models.encryption import MasterKeyRecord, TenantKey
from tenants.models.operators import OperatorAct, TenantDigest

__all__ = [
    "ApiKey",
    "AuditEntry",
    "AuditHead",
    "IdempotencyKey",
    "Invitation",
    "MasterKeyRecord",
    "Membership",
    "Notification",
    "OperatorAct",
    "OutboxMessage",
    "Project",
    "Quota",
    "QuotaReservation",
    "Tenant",
    "TenantDigest",
    "TenantKey",
    "User",
]

slug_rules = RegexValidator(
    r"^[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?$",
    "Use 1 to 50 small letters, digits and dashes; begin and end with a letter or digit.",
)


class UserManager(BaseUserManager["User"]):
    """Creates users; the email address is the user name."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user with a hashed password; without one the account cannot log in."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Belongs to tenants only through memberships."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=120, blank=True)
    theme = models.CharField(
        max_length=5, choices=[("auto", "Follow the system"), ("light", "Light"), ("dark", "Dark")], default="auto"
    )
    single_keys = models.BooleanField(default=True)
    is_operator = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(email=Lower("email")), name="user_email_lower_case")]

    def __str__(self) -> str:
        return self.email

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether this is the password, without rehashing an operator's, which the web role may not write."""
        if self.is_operator:
            return hashers.check_password(raw_password, self.password)
        return super().check_password(raw_password)


class Tenant(models.Model):
    """An organisation: the boundary that no row crosses."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=50, unique=True, validators=[slug_rules])
    name = models.CharField(max_length=120)
    timezone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3, default="EUR")
    self_approval = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    def __str__(self) -> str:
        return self.slug


class Project(TenantModel):
    """A cost centre: jobs, budgets and invoice lines belong to one."""

    slug = models.CharField(max_length=50, validators=[slug_rules])
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="project_slug_once")]

    def __str__(self) -> str:
        return self.slug


class Membership(TenantModel):
    """A person's role in a tenant."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=ROLES), name="membership_role_known"),
        ]


class ApiKey(Credential):
    """A key for programs: found by its prefix, verified by its hash, shown once.

    `created_by_id` is the responsible person.
    """

    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    key_hash = models.BinaryField()
    scopes = ArrayField(models.CharField(max_length=40))
    created_by = models.CharField(max_length=254)
    created_by_id = models.UUIDField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta(Credential.Meta):
        abstract = False
        indexes = [models.Index(fields=["prefix"], name="apikey_prefix")]


class Quota(TenantModel):
    """How much of a resource the tenant may hold at once; no limit when `limit` is empty."""

    resource = models.CharField(max_length=80)
    limit = models.BigIntegerField(null=True)
    in_use = models.BigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "resource"], name="quota_once"),
            models.CheckConstraint(condition=models.Q(in_use__gte=0), name="quota_use_not_negative"),
        ]


class QuotaReservation(TenantModel):
    """What one subject (such as `job:<id>`) reserves of a resource."""

    resource = models.CharField(max_length=80)
    subject = models.CharField(max_length=120)
    amount = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "subject", "resource"], name="quota_reservation_once"),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="quota_reservation_positive"),
        ]


class OutboxMessage(TenantModel):
    """An event committed with its change; the relay sends wake-ups until it is delivered."""

    topic = models.CharField(max_length=80)
    payload = models.JSONField()
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    rung_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(
                fields=["created_at"],
                name="outbox_open",
                condition=models.Q(delivered_at__isnull=True),
            )
        ]


class IdempotencyKey(TenantModel):
    """The first response to a request with an `Idempotency-Key`; kept 30 days."""

    actor_id = models.UUIDField()
    key = models.CharField(max_length=200)
    request_hash = models.BinaryField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "actor_id", "key"], name="idempotency_key_once")]


class Invitation(Credential):
    """An offer of a role to one email address: single use, role fixed at issue, its token stored as a hash."""

    email = models.EmailField()
    role = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
    token_hash = models.BinaryField()
    invited_by = models.CharField(max_length=254)
    invited_by_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField()  # unlike other kinds it always expires
    accepted_at = models.DateTimeField(null=True)

    class Meta(Credential.Meta):
        abstract = False
        indexes = [models.Index(fields=["token_hash"], name="invitation_token")]
        constraints = [models.CheckConstraint(condition=models.Q(role__in=ROLES), name="invitation_role_known")]


class Notification(TenantModel):
    """A notification for one member, with the page that shows it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=60)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    path = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    read_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["tenant", "user", "-id"], name="notification_newest"),
            models.Index(
                fields=["tenant", "user"], name="notification_unread", condition=models.Q(read_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.title
