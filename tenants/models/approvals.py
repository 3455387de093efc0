"""The table of approvals: what waits for a second person, and what was answered."""

from django.db import models

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class ApprovalState(models.TextChoices):
    """States of a request; an open one expires."""

    OPEN = "open", "Open"
    APPROVED = "approved", "Approved"
    DECLINED = "declined", "Declined"


class Approval(TenantModel):
    """One request that a second person answers. `kind` names the operation, `wanted` its arguments.

    An open one past `expires_at` has expired: nothing answers it any more. `side`: the tenant answers, or the operators.
    """

    kind = models.CharField(max_length=40)
    side = models.CharField(max_length=9, default="tenant")
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, null=True, related_name="+")
    requester = models.UUIDField(null=True)
    requester_label = models.CharField(max_length=254)
    target = models.CharField(max_length=120)
    wanted = models.JSONField()
    reason = models.CharField(max_length=500)
    state = models.CharField(max_length=8, choices=ApprovalState, default=ApprovalState.OPEN)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField()
    answered_by = models.UUIDField(null=True)
    answered_by_label = models.CharField(max_length=254, blank=True)
    answered_at = models.DateTimeField(null=True)
    answer_reason = models.CharField(max_length=500, blank=True)
    #: Of an open request that is returned for a second, equal one; not stored.
    was_open = False

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="open", answered_at__isnull=True)
                | models.Q(state__in=["approved", "declined"], answered_at__isnull=False),
                name="approval_answered_with_state",
            ),
            models.CheckConstraint(condition=models.Q(side__in=["tenant", "operators"]), name="approval_side_known"),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="approval_newest"),
            models.Index(fields=["-id"], condition=models.Q(side="operators"), name="approval_of_operators"),
            models.Index(
                fields=["-id"], condition=models.Q(side="operators", state="open"), name="approval_operators_wait"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.target}"
