"""What a node may be handed for one piece of live work, and the answers themselves."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from compute import kinds
from compute.leases import holders
from models_app.endpoints import deployments
from models_app.endpoints.endpoints import endpoint_of
from models_app.object_store import s3
from models_app.object_store.storage import prefix_of
from tenants.encryption import data_key, handouts
from tenants.encryption.keys import UnknownKey
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope

MOST_LISTED = 1000


class NotHeld(PermissionDenied):
    """No such work is live on this node, or this file is no part of it."""

    code = "not_held"


class NotANode(PermissionDenied):
    """This is the secret of no node that has joined."""

    code = "not_a_node"
    status = 401


@dataclass(frozen=True)
class Held:
    """Live work on a node. `reads`: the keys of its inputs; `writes`: the prefix of what it stores, empty if it stores nothing."""

    tenant_id: UUID
    reads: frozenset[str]
    writes: str = ""


def held(secret: str, *, tenant_id: UUID, kind: str, work_id: UUID, token: int) -> Held:
    """Return what the node with this secret may be handed for the work that it names. Raises NotANode, NotHeld."""
    node_id = holders.node_of(secret)
    if node_id is None:
        raise NotANode
    if kind == handouts.ATTEMPT:
        return _of_attempt(node_id, tenant_id, work_id, token)
    if kind == handouts.SLOT:
        return _of_slot(node_id, tenant_id, work_id)
    raise Invalid(fields={"kind": ["Name an attempt or a slot."]})


def _of_attempt(node_id: UUID, tenant_id: UUID, attempt_id: UUID, token: int) -> Held:
    with tenant_scope(tenant_id):
        job = holders.job_on(node_id, attempt_id, token)
    if job is None:
        raise NotHeld
    reads = frozenset(filter(None, kinds.get(job.kind).reads(job)))
    return Held(tenant_id, reads, f"{prefix_of(tenant_id)}j/{job.id}/{token}/")


def _of_slot(node_id: UUID, tenant_id: UUID, allocation_id: UUID) -> Held:
    with tenant_scope(tenant_id):
        live = holders.has_slot_on(node_id, allocation_id)
        endpoint_id = endpoint_of(tenant_id, allocation_id) if live else None
        if endpoint_id is None:
            raise NotHeld
        order = deployments.load_order(tenant_id, endpoint_id)
    return Held(tenant_id, frozenset((order.weights.key, order.signature_file.key)))


def key(work: Held, sent: dict[str, Any]) -> dict[str, Any]:
    """Return the tenant's newest data key, or the one of an id. Raises NotFound, KeyUnavailable."""
    try:
        wanted = UUID(str(sent["key"])) if sent.get("key") else None
    except ValueError:
        raise Invalid(fields={"key": ["Give the id of a data key, or none."]}) from None
    try:
        found = data_key(work.tenant_id, wanted)
    except UnknownKey:
        raise NotFound from None
    return {"id": str(found.id), "secret": base64.b64encode(found.secret).decode()}


def link(work: Held, sent: dict[str, Any]) -> dict[str, Any]:
    """Return an address at which to get an input, or get or put what the work itself stores. Raises NotHeld."""
    method, wanted = sent.get("method"), sent.get("key")
    if method not in ("get", "put"):
        raise Invalid(fields={"method": ["Choose get or put."]})
    if not isinstance(wanted, str) or not (_own(work, wanted) or (method == "get" and wanted in work.reads)):
        raise NotHeld
    return {"url": s3.link(str(method), wanted)}


def listed(work: Held, sent: dict[str, Any]) -> dict[str, Any]:
    """Return what the work stored, by key. Raises NotHeld, StorageUnavailable."""
    prefix = sent.get("prefix")
    if not isinstance(prefix, str) or not _own(work, prefix):
        raise NotHeld
    found = islice(s3.listing(prefix), MOST_LISTED)
    return {"objects": [{"key": o.key, "written_at": o.written_at.isoformat(), "size": o.size} for o in found]}


def removed(work: Held, sent: dict[str, Any]) -> dict[str, Any]:
    """Remove files that the work stored. Raises NotHeld, StorageUnavailable."""
    keys = sent.get("keys")
    if not isinstance(keys, list) or not all(_own(work, one) for one in keys):
        raise NotHeld
    s3.delete(keys)
    return {}


def _own(work: Held, name: object) -> bool:
    return isinstance(name, str) and bool(work.writes) and name.startswith(work.writes) and ".." not in name


ANSWERS: dict[str, Callable[[Held, dict[str, Any]], dict[str, Any]]] = {
    "key": key,
    "link": link,
    "list": listed,
    "remove": removed,
}
