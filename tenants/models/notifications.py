"""The table of notifications in the app."""

from django.db import models

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantModel
from tenants.models.people import User


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
