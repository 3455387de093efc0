"""What every credential stores of where it came from. `provenance` sets it, reads it and takes credentials back by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID


class Credential(TenantModel):
    """An API key, an invitation or an endpoint key. It was made by `parent_key`, or else by the member of `membership_id`.

    The membership at the root is copied down to whatever descends from it. It is no reference: the membership's row goes
    when the member leaves, and a member who comes back has a new one. Both are empty for what Exchequer itself made.
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
