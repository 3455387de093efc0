"""The tables of credentials, and what each stores of its provenance; endpoint keys are in an upper app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.access.permissions import ROLES
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID


class Credential(TenantModel):
    """An API key, an invitation or an endpoint key, created by `parent_key`, or else by the member of `membership_id`.

    The root, a membership or a service account, is copied down to all descendants. The membership is not a foreign key:
    its row is deleted when the member leaves, and a returning member gets a new one. All are empty for credentials
    created by the system.
    """

    parent_key = TenantForeignKey("tenants.ApiKey", on_delete=models.PROTECT, null=True, related_name="+")
    membership_id = models.UUIDField(null=True)
    service_account = TenantForeignKey("tenants.ServiceAccount", on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        parent_key_id: UUID | None
        service_account_id: UUID | None

    class Meta(TenantModel.Meta):
        abstract = True


class ApiKey(Credential):
    """A key for programs: found by its prefix, verified by its hash, shown once.

    `created_by_id` is the responsible person. A key of a service account has that account's rights and descends from no
    membership. `project` limits it to one project. `replaced_by` is the key that a rotation made of it,
    `succeeds` the first of the keys that it came from by rotations: what that one made belongs to it, too.
    """

    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    key_hash = models.BinaryField()
    scopes = ArrayField(models.CharField(max_length=40))
    created_by = models.CharField(max_length=254)
    created_by_id = models.UUIDField(null=True)
    last_used_at = models.DateTimeField(null=True)
    replaced_by = models.UUIDField(null=True)
    succeeds = models.UUIDField(null=True)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, null=True, related_name="+")

    if TYPE_CHECKING:
        project_id: UUID | None

    class Meta(Credential.Meta):
        abstract = False
        indexes = [
            models.Index(fields=["prefix"], name="apikey_prefix"),
            models.Index(fields=["succeeds"], condition=models.Q(succeeds__isnull=False), name="apikey_succeeds"),
        ]


class Invitation(Credential):
    """An offer of a role to one email address: single use, role fixed at issue, its token stored as a hash.

    `mailed`: its link went to that address by a mail server, so that the person who follows it reads that mailbox.
    """

    email = models.EmailField()
    role = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
    token_hash = models.BinaryField()
    invited_by = models.CharField(max_length=254)
    invited_by_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField()  # unlike other kinds it always expires
    accepted_at = models.DateTimeField(null=True)
    mailed = models.BooleanField(default=False, db_default=False)

    class Meta(Credential.Meta):
        abstract = False
        indexes = [models.Index(fields=["token_hash"], name="invitation_token")]
        constraints = [models.CheckConstraint(condition=models.Q(role__in=ROLES), name="invitation_role_known")]

    @property
    def inviter(self) -> str:
        """Return who issued it, as texts name them."""
        return self.invited_by if self.parent_key_id is None else f"the key {self.invited_by}"
