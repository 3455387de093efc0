"""The tables of identity providers: what a tenant trusts to name a person, and what it has stated.

All rows are one tenant's. A provider speaks for its tenant only, so nothing here is shared between tenants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from tenants.access.permissions import ROLES
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models.credentials import Credential
from tenants.models.people import User

if TYPE_CHECKING:
    from uuid import UUID

OIDC, SAML = "oidc", "saml"
PROVIDER_KINDS = [(OIDC, "OpenID Connect"), (SAML, "SAML 2.0")]
#: What a provider may give. Owners are made by owners.
GIVEN_ROLES = tuple(role for role in ROLES if role != "owner")
#: What becomes of the open jobs of a member whom the provider removes.
KEEP, CANCEL, HAND_OVER = "keep", "cancel", "hand_over"
LEAVERS_JOBS = [(KEEP, "they continue"), (CANCEL, "they are cancelled"), (HAND_OVER, "they are handed over")]


class IdentityProvider(TenantModel):
    """A tenant's one identity provider.

    `issuer` is the issuer of OIDC or the entity id of SAML. `client_secret` is sealed under the tenant's key.
    `default_role` is that of a new member; no group that the provider fills has more than `highest_role`. Open jobs of a
    member whom the provider removes go to `leavers_heir` if they are handed over.
    """

    kind = models.CharField(max_length=4, choices=PROVIDER_KINDS)
    name = models.CharField(max_length=60)
    issuer = models.CharField(max_length=500)
    client_id = models.CharField(max_length=200, blank=True)
    client_secret = models.BinaryField(null=True)
    sign_in_url = models.CharField(max_length=500, blank=True)
    certificates = ArrayField(models.TextField(), default=list)
    default_role = models.CharField(max_length=16, choices=[(role, role) for role in GIVEN_ROLES], default="viewer")
    highest_role = models.CharField(max_length=16, choices=[(role, role) for role in GIVEN_ROLES], default="viewer")
    just_in_time = models.BooleanField(default=False)
    trusts_email = models.BooleanField(default=False)
    groups_claim = models.CharField(max_length=120, blank=True)
    enabled = models.BooleanField(default=True)
    leavers_jobs = models.CharField(max_length=10, choices=LEAVERS_JOBS, default=KEEP, db_default=KEEP)
    leavers_heir = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(leavers_jobs__in=[one for one, _ in LEAVERS_JOBS]),
                name="identity_provider_leavers_known",
            ),
            models.UniqueConstraint(fields=["tenant"], name="identity_provider_once"),
            models.CheckConstraint(condition=models.Q(kind__in=[OIDC, SAML]), name="identity_provider_kind_known"),
            models.CheckConstraint(
                condition=models.Q(default_role__in=GIVEN_ROLES, highest_role__in=GIVEN_ROLES),
                name="identity_provider_makes_no_owner",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MailDomain(TenantModel):
    """A domain of email addresses that a tenant claims, proven by the token in a TXT record since `verified_at`.

    The record is read again each day, last at `read_at`. It has been gone since `missing_since`: after seven days the
    domain is no longer proven.
    """

    name = models.CharField(max_length=253)
    token = models.CharField(max_length=64)
    verified_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    missing_since = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="mail_domain_once")]
        indexes = [
            models.Index(fields=["read_at"], name="mail_domain_to_read", condition=models.Q(verified_at__isnull=False)),
            models.Index(fields=["name"], name="mail_domain_proven", condition=models.Q(verified_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name


class ExternalIdentity(TenantModel):
    """A provider's name for a person: its subject. It opens sessions in this tenant, and in no other."""

    provider = TenantForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=255)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    email = models.EmailField()
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    last_used_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "provider", "subject"], name="external_identity_once"),
            models.UniqueConstraint(fields=["tenant", "provider", "user"], name="external_identity_one_of_user"),
        ]

    def __str__(self) -> str:
        return self.subject


class ExternalGroup(TenantModel):
    """A group that the provider fills: by the value `claim` of its groups claim, or by SCIM."""

    provider = TenantForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="+")
    group = TenantForeignKey("tenants.Group", on_delete=models.CASCADE, related_name="+")
    claim = models.CharField(max_length=255)
    external_id = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "provider", "claim"], name="external_group_claim_once"),
            models.UniqueConstraint(fields=["tenant", "group"], name="external_group_once"),
        ]

    def __str__(self) -> str:
        return self.claim


class ScimUser(TenantModel):
    """What SCIM stated about a person. It is kept beside the account, which belongs to the person and not to the tenant."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    user_name = models.EmailField()
    external_id = models.CharField(max_length=255, blank=True)
    attributes = models.JSONField(default=dict)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    changed_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="scim_user_once"),
            models.UniqueConstraint("tenant", Lower("user_name"), name="scim_user_name_once"),
        ]
        indexes = [models.Index(fields=["tenant", "external_id"], name="scim_user_external")]

    def __str__(self) -> str:
        return self.user_name


class FormerMember(TenantModel):
    """A person whose membership ended. One whom a person removed comes back by a person's act only."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    by_provider = models.BooleanField(default=False)
    removed_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="former_member_once")]


class LogInAttempt(TenantModel):
    """One log-in by the provider, from the redirect until it comes back; used once.

    `state` and `browser` are hashes: of what the provider returns, and of the cookie of the browser that began.
    `outcome` is what the provider stated, for a SAML log-in until the browser fetches it, and for a test.
    """

    provider = TenantForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="+")
    state = models.BinaryField()
    browser = models.BinaryField()
    nonce = models.CharField(max_length=64)
    verifier = models.CharField(max_length=128)
    next = models.CharField(max_length=500, blank=True)
    is_test = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    outcome = models.JSONField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "state"], name="log_in_attempt_once")]
        indexes = [models.Index(fields=["tenant", "expires_at"], name="log_in_attempt_end")]


class UsedAssertion(TenantModel):
    """A SAML assertion that was accepted: its id, hashed, until it expires. None is accepted twice."""

    digest = models.BinaryField()
    expires_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "digest"], name="used_assertion_once")]


class ScimToken(Credential):
    """A provider's token for SCIM: found by its prefix, verified by its hash, shown once."""

    provider = TenantForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    token_hash = models.BinaryField()
    created_by = models.CharField(max_length=254)
    last_used_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        provider_id: UUID

    class Meta(Credential.Meta):
        abstract = False
        indexes = [models.Index(fields=["prefix"], name="scim_token_prefix")]

    def __str__(self) -> str:
        return self.name
