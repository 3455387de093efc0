"""The tables of people: users, and their memberships of organisations."""

from typing import Any, ClassVar

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel


class UserManager(BaseUserManager["User"]):
    """Creates users; the email address is the user name."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user with a hashed password; without one the account cannot log in."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """An account: a person's, who belongs to tenants only through memberships, or an operator's.

    Each is on one side for ever. Row security shows people to the tenants' processes and operators to the console, so
    that one address may have an account on each. `provider_only`: a tenant's identity provider made it, so it never has a
    password or a second factor, and opens by that provider alone. `address_proven`: false for an account that was made by
    a link that somebody else could have held, because no mail server sent it to the address.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=120, blank=True)
    theme = models.CharField(
        max_length=5, choices=[("auto", "Follow the system"), ("light", "Light"), ("dark", "Dark")], default="auto"
    )
    single_keys = models.BooleanField(default=True)
    is_operator = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    provider_only = models.BooleanField(default=False, db_default=False)
    address_proven = models.BooleanField(default=True, db_default=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["email", "is_operator"], name="user_email_once"),
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="user_email_lower_case"),
            models.CheckConstraint(
                condition=models.Q(provider_only=False)
                | models.Q(is_operator=False, password__startswith=UNUSABLE_PASSWORD_PREFIX),
                name="user_of_provider_has_no_password",
            ),
        ]

    def __str__(self) -> str:
        return self.email


class Membership(TenantModel):
    """A person's place in a tenant. What they may do there is in their grants, and in those of their groups."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_once")]
