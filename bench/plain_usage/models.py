"""An event as a new project stores it: a row with a unique key."""

from __future__ import annotations

from uuid import uuid4

from django.db import models


class Event(models.Model):
    """A reported quantity."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    key = models.CharField(max_length=200, unique=True)
    meter = models.CharField(max_length=120)
    subject = models.CharField(max_length=200, db_index=True)
    at = models.DateTimeField(db_index=True)
    quantity = models.DecimalField(max_digits=20, decimal_places=6)

    class Meta:
        app_label = "plain_usage"

    def __str__(self) -> str:
        return self.key
