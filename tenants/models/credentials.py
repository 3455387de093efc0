"""Provenance columns of every credential. `provenance` sets and reads them, and revokes credentials by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID


class Credential(TenantModel):
    """An API key, an invitation or an endpoint key, created by `parent_key`, or else by the member of `membership_id`.

    The root membership is copied down to all descendants. It is not a foreign key: the membership's row is deleted when
    the member leaves, and a returning member gets a new one. Both are empty for credentials created by the system.
    """

    parent_key = TenantForeignKey("tenants.ApiKey", on_delete=models.PROTECT, null=True, related_name="+")
    membership_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        parent_key_id: UUID | None

    class Meta(TenantModel.Meta):
        abstract = True
