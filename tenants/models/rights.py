"""The tables of rights: a tenant's own roles, groups, service accounts, and grants to each holder.

The built-in roles are constants (`tenants/access/permissions.py`); a grant names one of them, or a role of the
tenant's own.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from tenants.access.permissions import ROLES
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class Role(TenantModel):
    """A tenant's own role: a set of permissions."""

    name = models.CharField(max_length=60)
    description = models.CharField(max_length=200, blank=True)
    permissions = ArrayField(models.CharField(max_length=40))
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint("tenant", Lower("name"), name="role_name_once")]

    def __str__(self) -> str:
        return self.name


class Group(TenantModel):
    """People who hold grants together."""

    name = models.CharField(max_length=60)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint("tenant", Lower("name"), name="group_name_once")]

    def __str__(self) -> str:
        return self.name


class GroupMember(TenantModel):
    """A person's place in a group; it ends with the membership."""

    group = TenantForeignKey(Group, on_delete=models.CASCADE, related_name="+")
    membership = TenantForeignKey("tenants.Membership", on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "group", "membership"], name="group_member_once")]


class ServiceAccount(TenantModel):
    """A program that holds grants of its own, so that its keys outlive the person who made them."""

    name = models.CharField(max_length=60)
    description = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    disabled_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint("tenant", Lower("name"), name="service_account_name_once")]

    def __str__(self) -> str:
        return self.name


ONE_HOLDER = (
    models.Q(membership__isnull=False, group__isnull=True, service_account__isnull=True)
    | models.Q(membership__isnull=True, group__isnull=False, service_account__isnull=True)
    | models.Q(membership__isnull=True, group__isnull=True, service_account__isnull=False)
)
ONE_ROLE = models.Q(built_in="", role__isnull=False) | models.Q(built_in__in=ROLES, role__isnull=True)
#: An organisation is owned by people, as a whole and without an end: then there can always be one owner.
OWNED_BY_PEOPLE = ~models.Q(built_in="owner") | models.Q(
    membership__isnull=False, project__isnull=True, expires_at__isnull=True
)


class Grant(TenantModel):
    """A role given to one holder: a person, a group or a service account. `project` limits it to one project.

    It ends at `expires_at`, or with its holder.
    """

    membership = TenantForeignKey("tenants.Membership", on_delete=models.CASCADE, null=True, related_name="grants")
    group = TenantForeignKey(Group, on_delete=models.CASCADE, null=True, related_name="grants")
    service_account = TenantForeignKey(ServiceAccount, on_delete=models.CASCADE, null=True, related_name="grants")
    built_in = models.CharField(max_length=16, blank=True, choices=[(role, role) for role in ROLES])
    role = TenantForeignKey(Role, on_delete=models.PROTECT, null=True, related_name="grants")
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, null=True, related_name="+")
    created_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField(null=True)

    HOLDER: ClassVar[tuple[str, ...]] = ("membership", "group", "service_account")

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=ONE_HOLDER, name="grant_has_one_holder"),
            models.CheckConstraint(condition=ONE_ROLE, name="grant_has_one_role"),
            models.CheckConstraint(condition=OWNED_BY_PEOPLE, name="grant_owner_is_a_person"),
            models.UniqueConstraint(
                fields=["tenant", "membership", "group", "service_account", "built_in", "role", "project"],
                nulls_distinct=False,
                name="grant_once",
            ),
        ]
