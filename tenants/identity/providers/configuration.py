"""A tenant's identity provider: stored, changed and removed by owners.

A person who configures a provider decides who people are, owners included: so the permission is an owner's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

from allauth.mfa.models import Authenticator

from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.encryption import tenant_secrets
from tenants.errors import Conflict, Invalid, NotFound
from tenants.identity import provenance, sessions
from tenants.identity.holders import check_lasting
from tenants.identity.members import Jobs, check_role, heir
from tenants.identity.providers import certificates
from tenants.models import (
    GIVEN_ROLES,
    HAND_OVER,
    OIDC,
    SAML,
    ExternalIdentity,
    IdentityProvider,
    MailDomain,
    ScimToken,
    Tenant,
)
from tenants.operations import check_text
from tenants.rights import held

PROVIDER_SAVED = AuditAction("tenants.identity_provider.saved")
PROVIDER_REMOVED = AuditAction("tenants.identity_provider.removed")
PROVIDER_REQUIRED = AuditAction("tenants.identity_provider.required")
LEAVERS_CHOSEN = AuditAction("tenants.identity_provider.leavers_chosen")
SECRET = "identity provider"  # noqa: S105 (what the secret is for)
LONGEST_URL = 500
#: What makes the provider another one: the people that it named before are not those that it names now.
IDENTITY = ("kind", "issuer", "client_id")


class NoWayIn(Conflict):
    """First an owner needs a password and a second factor: they come in if the provider fails."""

    code = "no_way_in"


class NobodyComesIn(Conflict):
    """Without this provider no owner comes in: they have no password. First make somebody an owner who has one."""

    code = "nobody_comes_in"


class NotReady(Conflict):
    """First enable the identity provider and verify a domain."""

    code = "provider_not_ready"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The provider as it is to be. A `client_secret` of None keeps the one that is stored."""

    kind: str
    name: str
    issuer: str
    client_id: str = ""
    client_secret: str | None = field(default=None, repr=False)
    sign_in_url: str = ""
    certificates: tuple[str, ...] = ()
    default_role: str = "viewer"
    highest_role: str = "viewer"
    just_in_time: bool = False
    trusts_email: bool = False
    groups_claim: str = ""
    enabled: bool = True


@operation(PROVIDER_SAVED)
def save(*, actor: Actor, wanted: Wanted) -> IdentityProvider:
    """Store the tenant's provider, the first or in place of the one before.

    Another issuer or client ends the sessions and identities of the one before. Raises Invalid, PermissionDenied,
    NobodyComesIn.
    """
    actor.require("identity.manage")
    columns = _checked(actor, wanted)
    # What the provider decides outlasts rights until a date.
    check_lasting(actor, ROLE_PERMISSIONS[wanted.highest_role] | {"identity.manage"})
    row = IdentityProvider.objects.select_for_update(no_key=True).first()
    before = {} if row is None else {name: getattr(row, name) for name in columns}
    changes = {name: [before.get(name), value] for name, value in columns.items() if before.get(name) != value}
    if wanted.client_secret is not None:
        changes["client_secret"] = [
            "replaced" if row and row.client_secret else None,
            "set" if wanted.client_secret else None,
        ]
    if row is not None and not changes:
        unchanged("all of it is so already")
        return row
    if before and (not wanted.enabled or any(name in changes for name in IDENTITY)):
        _keep_a_way_in()
    row = row or IdentityProvider()
    for name, value in columns.items():
        setattr(row, name, value)
    if wanted.client_secret is not None:
        sealed = tenant_secrets.seal(actor.tenant_id, SECRET, wanted.client_secret) if wanted.client_secret else None
        row.client_secret = sealed
    row.save()
    if before and any(name in changes for name in IDENTITY):
        ExternalIdentity.objects.filter(provider=row).delete()
    if before and (not row.enabled or any(name in changes for name in IDENTITY)):
        sessions.end_bound(actor.tenant_id)
    if not row.enabled:
        _let_passwords_in(actor)
    record(PROVIDER_SAVED, actor=actor, target=_target(row), changes=changes)
    return row


@operation(PROVIDER_REMOVED)
def remove(*, actor: Actor) -> None:
    """Remove the provider with its identities, SCIM tokens and sessions; members stay. Raises NotFound, NobodyComesIn."""
    actor.require("identity.manage")
    row = IdentityProvider.objects.select_for_update(no_key=True).first()
    if row is None:
        raise NotFound
    people, tokens = ExternalIdentity.objects.filter(provider=row), ScimToken.objects.filter(provider=row)
    changes = {"people": [people.count(), 0], "scim_tokens": [tokens.filter(provenance.NOT_REVOKED).count(), 0]}
    _keep_a_way_in()
    _let_passwords_in(actor)
    sessions.end_bound(actor.tenant_id)
    IdentityProvider.objects.filter(id=row.id).delete()
    record(PROVIDER_REMOVED, actor=actor, target=_target(row), changes=changes)


@operation(PROVIDER_REQUIRED)
def require(*, actor: Actor, required: bool) -> None:
    """Let people with an address in a proven domain in by the provider only, or by their password again.

    Raises NotReady, and NoWayIn unless an owner has a password and a second factor.
    """
    actor.require("identity.manage")
    tenant = Tenant.objects.select_for_update(no_key=True).get(id=actor.tenant_id)
    if tenant.provider_required == required:
        unchanged("it is so already")
        return
    provider = IdentityProvider.objects.filter(enabled=True).first()
    if required:
        if provider is None or not MailDomain.objects.filter(verified_at__isnull=False).exists():
            raise NotReady
        if not has_way_in():
            raise NoWayIn
    Tenant.objects.filter(id=tenant.id).update(provider_required=required)
    target = _target(provider) if provider else None
    record(PROVIDER_REQUIRED, actor=actor, target=target, changes={"required": [not required, required]})


@operation(LEAVERS_CHOSEN)
def choose_for_leavers(*, actor: Actor, jobs: Jobs) -> None:
    """Decide what becomes of the open jobs of members whom the provider removes; a member gets them by their id.

    Raises NotFound without a provider, and Invalid for somebody who may not launch jobs.
    """
    actor.require("identity.manage")
    row = IdentityProvider.objects.select_for_update(no_key=True, of=("self",)).select_related("leavers_heir").first()
    if row is None:
        raise NotFound("Configure the identity provider first.")
    to = heir(actor, jobs) if isinstance(jobs, UUID) else None
    if to is not None and not to.can("jobs.launch"):
        raise Invalid(fields={"jobs": [f"{to.label} may not launch jobs. Choose a member who may."]})
    before = (row.leavers_jobs, row.leavers_heir.email if row.leavers_heir else None)
    row.leavers_jobs, row.leavers_heir_id = (HAND_OVER, to.id) if to else (str(jobs), None)
    after = (row.leavers_jobs, to.label if to else None)
    if before == after:
        unchanged("it is so already")
        return
    row.save(update_fields=["leavers_jobs", "leavers_heir"])
    names = ("jobs", "handed_over_to")
    changes = {name: [old, new] for name, old, new in zip(names, before, after, strict=True) if old != new}
    record(LEAVERS_CHOSEN, actor=actor, target=_target(row), changes=changes)


def has_way_in() -> bool:
    """Return whether an owner of the open tenant can come in without the provider: by a password and a second factor."""
    factors = Authenticator.objects.filter(user_id__in=_owners_with_password())
    return bool(factors.exclude(type=Authenticator.Type.RECOVERY_CODES).exists())


def _owners_with_password() -> list[UUID]:
    owners = held.owners().filter(membership__user__is_active=True).select_related("membership__user")
    people = {one.membership.user for one in owners if one.membership is not None}
    return [person.id for person in people if person.has_usable_password()]


def _keep_a_way_in() -> None:
    """Raise unless an owner has a password, which opens the tenant once its provider does not."""
    if not _owners_with_password():
        raise NobodyComesIn


def client_secret(provider: IdentityProvider) -> str:
    """Return the client secret in the clear; empty for a public client. Raises KeyUnavailable."""
    if provider.client_secret is None:
        return ""
    return tenant_secrets.unseal(provider.tenant_id, SECRET, bytes(provider.client_secret))


def check_url(text: str, field_name: str) -> str:
    """Return an https URL without user, query and fragment; raise `Invalid` for anything else."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    if not plain or parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
        raise Invalid(fields={field_name: ["Use an https address, such as https://login.example.org/."]})
    return url


def _checked(actor: Actor, wanted: Wanted) -> dict[str, object]:
    """Return the columns of what is wanted. Raises Invalid, PermissionDenied."""
    given = asdict(wanted)
    del given["client_secret"]
    given["name"] = check_text(wanted.name, "name", 60)
    for name in ("default_role", "highest_role"):
        if given[name] not in GIVEN_ROLES:
            raise Invalid(fields={name: [f"Use one of {', '.join(GIVEN_ROLES)}."]})
        check_role(actor, given[name])
    if not ROLE_PERMISSIONS[wanted.default_role] <= ROLE_PERMISSIONS[wanted.highest_role]:
        raise Invalid(fields={"highest_role": ["Choose a role that includes the one of new members."]})
    if wanted.groups_claim:
        given["groups_claim"] = check_text(wanted.groups_claim, "groups_claim")
    if wanted.kind == OIDC:
        given["issuer"] = check_url(wanted.issuer, "issuer")
        given["client_id"] = check_text(wanted.client_id, "client_id", 200)
        given |= {"sign_in_url": "", "certificates": []}
    elif wanted.kind == SAML:
        given["issuer"] = check_text(wanted.issuer, "issuer", LONGEST_URL)
        given["sign_in_url"] = check_url(wanted.sign_in_url, "sign_in_url")
        given["certificates"] = certificates.checked(wanted.certificates)
        given |= {"client_id": "", "trusts_email": False}
    else:
        raise Invalid(fields={"kind": [f"Use {OIDC} or {SAML}."]})
    return given


def _let_passwords_in(actor: Actor) -> None:
    Tenant.objects.filter(id=actor.tenant_id, provider_required=True).update(provider_required=False)


def _target(row: IdentityProvider) -> tuple[str, object, str]:
    return ("identity_provider", row.id, row.name)
