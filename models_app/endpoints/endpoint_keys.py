"""Keys that call one endpoint: created, shown once, found by their hash, refused from the next batch once revoked."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from models_app.endpoints import deployments
from models_app.models import EndpointKey, EndpointState
from tenants.access.actor import Actor
from tenants.access.rights import ALL_RIGHTS, Rights, rights_from
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound
from tenants.identity import creators, provenance
from tenants.isolation.scoping import tenant_scope
from tenants.operations import check_text

KEY_CREATED = AuditAction("models_app.endpoint_key.created")
KEY_REVOKED = AuditAction("models_app.endpoint_key.revoked", while_closing=True)
KEY_ADOPTED = AuditAction("models_app.endpoint_key.adopted")
KEY_START = "exq_ep_"
PREFIX_LENGTH = 12
MOST_KEYS = 100
MOST_A_MINUTE = 1_000_000
KNOWN = (
    "SELECT tenant_id, endpoint_id, id, digest, grants, scopes, only_project, project_id, restricted "
    "FROM exchequer_serving_keys(%s)"
)


def _could_make(project_id: UUID, own: Rights, *, restricted: bool) -> bool:
    """Return whether somebody with these rights could make a key: in a restricted project only who sees into it."""
    return "endpoints.manage" in own.there(project_id) and (not restricted or own.sees(project_id))


def _could_make_row(row: EndpointKey, own: Rights) -> bool:
    project = row.endpoint.project
    return _could_make(project.id, own, restricted=project.restricted)


provenance.register(
    provenance.Kind(
        "endpointkey",
        EndpointKey,
        KEY_REVOKED,
        label=lambda row: f"{row.name} of {row.endpoint.name}",
        could_make=_could_make_row,
        related=("endpoint__project",),
        adopted=KEY_ADOPTED,
        page=lambda row: f"endpoints/{row.endpoint_id}/",
    )
)


class EndpointIsUndeployed(Conflict):
    """This endpoint is undeployed. Deploy the version again."""

    code = "endpoint_undeployed"


class TooManyKeys(Conflict):
    """This endpoint has the maximum number of keys. Revoke one first."""

    code = "too_many_keys"


@dataclass(frozen=True)
class NewEndpointKey:
    """A new endpoint key. `secret` is shown once and never stored."""

    id: UUID
    secret: str


@dataclass(frozen=True)
class KnownKey:
    """A valid key, and the one endpoint it calls."""

    tenant_id: UUID
    endpoint_id: UUID
    id: UUID
    digest: bytes


def key_hash(secret: str) -> bytes:
    """Return SHA-256 of a key: 32 bytes. The key has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


@operation(KEY_CREATED)
def create(*, actor: Actor, endpoint_id: UUID, name: str, requests_per_minute: int | None = None) -> NewEndpointKey:
    """Create a key for one endpoint; without `requests_per_minute` it has no limit of its own.

    It is revoked with the member or API key that created it. Raises NotFound, Invalid, EndpointIsUndeployed,
    TooManyKeys.
    """
    actor.require_somewhere("endpoints.manage")
    creator = creators.lock_creator(actor)
    endpoint = deployments.lock(actor, endpoint_id)
    if "endpoints.manage" not in creator.rights.there(endpoint.project_id):
        raise creators.AccessEnded
    if endpoint.state == EndpointState.UNDEPLOYED:
        raise EndpointIsUndeployed
    name = check_text(name, "name")
    if requests_per_minute is not None and not 1 <= requests_per_minute <= MOST_A_MINUTE:
        message = f"Use a whole number from 1 to {MOST_A_MINUTE}, or leave it empty for no limit."
        raise Invalid(fields={"requests_per_minute": [message]})
    if EndpointKey.objects.filter(EndpointKey.good(), endpoint=endpoint).count() >= MOST_KEYS:
        raise TooManyKeys(most=MOST_KEYS)
    secret = KEY_START + secrets.token_urlsafe(32)
    row = EndpointKey.objects.create(
        endpoint=endpoint,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        key_hash=key_hash(secret),
        requests_per_minute=requests_per_minute,
        created_by=actor.id,
        created_by_label=actor.label,
        expires_at=creator.expires_at,
        **creator.origin(),
    )
    changes = {"endpoint": [None, endpoint.name], "requests_per_minute": [None, requests_per_minute]}
    record(KEY_CREATED, actor=actor, target=("endpointkey", row.id, name), changes=changes)
    return NewEndpointKey(row.id, secret)


@operation(KEY_REVOKED)
def revoke(*, actor: Actor, endpoint_id: UUID, key_id: UUID) -> None:
    """Revoke a key of this endpoint, effective with the next batch. Raises NotFound."""
    endpoint = deployments.lock(actor, endpoint_id, TakesAway("endpoints.manage"))
    row = EndpointKey.objects.filter(id=key_id, endpoint=endpoint).first()
    if row is None:
        raise NotFound
    if row.revoked_at is not None:
        unchanged("the key is revoked already")
        return
    EndpointKey.objects.filter(id=row.id).update(revoked_at=DatabaseNow())
    record(
        KEY_REVOKED,
        actor=actor,
        target=("endpointkey", row.id, row.name),
        changes={"endpoint": [endpoint.name, None]},
    )


def known(digests: Sequence[bytes]) -> list[KnownKey]:
    """Return the valid keys among these hashes, whose creators could make them now, in one query; needs and opens no scope."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, [list(digests)])
        rows = cursor.fetchall()
    found = []
    for tenant, endpoint, key, digest, grants, scopes, only, project, restricted in rows:
        own = ALL_RIGHTS if grants is None else rights_from(json.loads(grants))
        if scopes is not None:
            own = own.within(scopes, only)
        if _could_make(project, own, restricted=restricted):
            found.append(KnownKey(tenant, endpoint, key, bytes(digest)))
    return found


def limits(tenant_id: UUID, endpoint_id: UUID) -> dict[UUID, int | None]:
    """Return the requests per minute of each valid key of an endpoint; None = no limit of its own."""
    with tenant_scope(tenant_id):
        keys = EndpointKey.objects.filter(EndpointKey.good(), endpoint_id=endpoint_id)
        return dict(keys.values_list("id", "requests_per_minute"))
