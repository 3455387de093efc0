"""Tables of the operators' console, which no tenant's process reaches: the database role of the web process has no right.

An operator's account is a row of `tenants_user` with `is_operator`; row security shows it to the console alone.
"""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel
from tenants.models.audit import OUTCOMES
from tenants.models.sessions import StoredSession


class TenantDigest(models.Model):
    """Metrics of a tenant for operators, refreshed by a task of the control role; never its rows.

    `spend_before` is the cost of the month before up to the same day, in `currency_before`; none until it is refreshed.
    The budget is that of the whole tenant, the shortest if there are several; without one there is no limit.
    """

    tenant = models.OneToOneField(
        "tenants.Tenant", on_delete=models.CASCADE, primary_key=True, related_name="+", editable=False
    )
    slug = models.CharField(max_length=50)
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField()
    members = models.PositiveIntegerField(default=0)
    running_jobs = models.PositiveIntegerField(default=0)
    queued_jobs = models.PositiveIntegerField(default=0)
    month_spend = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    spend_before = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    currency_before = models.CharField(max_length=3, blank=True, default="", db_default="")
    budget_limit = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    budget_spent = models.DecimalField(max_digits=38, decimal_places=12, default=0, db_default=0)
    budget_period = models.CharField(max_length=7, blank=True, default="", db_default="")
    open_alerts = models.PositiveIntegerField(default=0, db_default=0)
    refreshed_at = models.DateTimeField(db_default=DatabaseNow())

    def __str__(self) -> str:
        return self.slug


class OperatorAct(models.Model):
    """One entry of the operator log, chained to the previous one. Immutable: the database refuses changes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    seq = models.BigIntegerField(unique=True)
    at = models.DateTimeField(editable=False)
    operator = models.UUIDField()
    operator_label = models.CharField(max_length=254)
    action = models.CharField(max_length=80)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=254)
    reason = models.TextField()
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    schema_version = models.PositiveSmallIntegerField()
    credential = models.CharField(max_length=80, blank=True, default="")
    outcome = models.CharField(max_length=8, choices=[(one, one) for one in OUTCOMES], default="done")
    prev_hash = models.BinaryField()
    hash = models.BinaryField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["-id"], name="operator_act_newest")]

    def __str__(self) -> str:
        return self.action


class OperatorHead(models.Model):
    """Number and hash of the newest entry of the operator log: one row, locked after every head of a tenant's log."""

    only_row = models.BooleanField(primary_key=True, default=True)
    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField(default=bytes(32))

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(only_row=True), name="operator_head_once")]

    def __str__(self) -> str:
        return str(self.seq)


class RefusedLogIn(models.Model):
    """A log-in that was refused, until the ops worker enters it in the operator log. Each side adds its own, none reads.

    `account` is the one asked for, if it exists; `origin` stands for the client; `provider_of` is the tenant whose identity
    provider was asked.
    """

    TENANTS, CONSOLE = "tenants", "console"
    PASSWORD, SECOND_FACTOR, PROVIDER = "password", "second_factor", "provider"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    side = models.CharField(max_length=8)
    method = models.CharField(max_length=14)
    code = models.CharField(max_length=80)
    account = models.UUIDField(null=True)
    origin = models.CharField(max_length=16)
    provider_of = models.UUIDField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(
                    side__in=["tenants", "console"], method__in=["password", "second_factor", "provider"]
                ),
                name="refused_log_in_known",
            )
        ]

    def __str__(self) -> str:
        return self.method


class OperatorGrant(models.Model):
    """A role of an operator. Only a command on the machine grants one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=20, choices=[(role, role) for role in OPERATOR_ROLES])
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "role"], name="operator_grant_once"),
            models.CheckConstraint(condition=models.Q(role__in=list(OPERATOR_ROLES)), name="operator_role_known"),
        ]

    def __str__(self) -> str:
        return self.role


class OperatorSession(StoredSession):
    """A session in the operators' console."""

    class Meta(StoredSession.Meta):
        abstract = False
        indexes: ClassVar = [models.Index(fields=["user_id"], name="operator_session_user")]


class OperatorKey(models.Model):
    """A key of an operator for programs: found by its prefix, verified by its hash, shown once.

    It has at most the roles of its operator, and ends with them.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    key_hash = models.BinaryField()
    roles = ArrayField(models.CharField(max_length=20))
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["prefix"], name="operator_key_prefix")]

    def __str__(self) -> str:
        return self.name


class BreakGlass(TenantModel):
    """One look of an operator inside a tenant: asked for with a reason, answered by a second operator where needed, bounded.

    `ends_at` is empty until it may begin. A ticket opens it once in a browser; only hashes are stored, of the ticket and of
    the session that it opened. `exchequer_glass_tenant()` reads this row in every statement of such a session.
    """

    operator = models.UUIDField(editable=False)
    operator_label = models.CharField(max_length=254)
    reason = models.CharField(max_length=400)
    minutes = models.PositiveSmallIntegerField()
    needs_second = models.BooleanField()
    asked_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    answered_by = models.UUIDField(null=True)
    answered_label = models.CharField(max_length=254, blank=True, default="")
    answered_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_label = models.CharField(max_length=254, blank=True, default="")
    ticket_hash = models.BinaryField(null=True)
    ticket_ends_at = models.DateTimeField(null=True)
    session_hash = models.BinaryField(null=True)
    entered_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(minutes__gte=1, minutes__lte=240), name="break_glass_is_short"),
            models.CheckConstraint(
                condition=models.Q(answered_by=None) | ~models.Q(answered_by=models.F("operator")),
                name="break_glass_second_operator",
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at=None) | models.Q(needs_second=False) | models.Q(answered_by__isnull=False),
                name="break_glass_answered_first",
            ),
            models.CheckConstraint(
                condition=models.Q(needs_second=True) | models.Q(minutes__lte=30), name="break_glass_alone_is_shorter"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-id"], name="break_glass_newest"),
            models.Index(
                fields=["ticket_hash"], name="break_glass_ticket", condition=models.Q(ticket_hash__isnull=False)
            ),
            models.Index(
                fields=["session_hash"], name="break_glass_session", condition=models.Q(session_hash__isnull=False)
            ),
            # What the console's queue asks for; few rows ever match.
            models.Index(fields=["-id"], name="break_glass_open", condition=models.Q(ended_at=None)),
        ]

    def __str__(self) -> str:
        return self.operator_label
