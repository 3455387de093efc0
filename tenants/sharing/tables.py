"""The tables of shares: django-guardian's object permissions with a direct foreign key, one pair for each kind of object.

Guardian writes the rows and knows no tenant, so the database fills it in from the open scope; the policies and the
composite keys enforce it. A group is one of the tenant's own, not Django's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Func
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from tenants.ids import uuid7
from tenants.isolation.scoping import TenantForeignKey

if TYPE_CHECKING:
    from uuid import UUID


class CurrentTenant(Func):
    """The tenant of the open scope, as the database sees it: a default for rows that a library writes."""

    template = "(nullif(current_setting('app.tenant', true), ''))::uuid"
    output_field = models.UUIDField()


class SharedWithPerson(UserObjectPermissionBase):
    """One person's right to one object. A subclass adds `content_object` and a unique constraint."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.PROTECT, related_name="+", editable=False, db_default=CurrentTenant()
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")

    if TYPE_CHECKING:
        user_id: UUID
        content_object_id: UUID

    class Meta:
        abstract = True
        unique_together: ClassVar = []


class SharedWithGroup(GroupObjectPermissionBase):
    """One group's right to one object; it ends with the group. A subclass adds `content_object` and a unique constraint."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.PROTECT, related_name="+", editable=False, db_default=CurrentTenant()
    )
    group = TenantForeignKey("tenants.Group", on_delete=models.CASCADE, related_name="+")

    if TYPE_CHECKING:
        content_object_id: UUID

    class Meta:
        abstract = True
        unique_together: ClassVar = []
