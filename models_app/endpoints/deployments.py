"""Deployments: which version serves under which name. Deploy, roll over, undeploy, and reports of serving nodes.

An endpoint's name is unique among those not undeployed. Each deployment increases `generation`, which makes nodes
reload. Locks: the endpoint's row, then those of its allocation (`compute.allocations.allocations`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billing.allocation.required_tags import check_tags
from billing.dunning.stops import require_launches
from compute.allocations import allocations
from models_app.access import visible_endpoints, visible_versions
from models_app.endpoints import slot_events
from models_app.endpoints.compatibility import differing, inputs_of
from models_app.events import EndpointDeployed, EndpointUndeployed
from models_app.models import Endpoint, EndpointKey, EndpointState, ModelVersion, Stage
from models_app.models.serving import SLO_MS
from models_app.object_store.storage import Stored
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events.events import publish
from tenants.isolation.scoping import tenant_scope
from tenants.projects.sight import project_fault
from tenants.sharing import shares

ENDPOINT_DEPLOYED = AuditAction("models_app.endpoint.deployed")
ENDPOINT_UNDEPLOYED = AuditAction("models_app.endpoint.undeployed")
ENDPOINT_REPORTED = AuditAction("models_app.endpoint.reported")

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SLO_RANGE_MS = (10, 60_000)
NOT_LOADED = "Its model could not be loaded."


class VersionNotApproved(Conflict):
    """Only a version in production can be deployed. Ask an owner or admin to approve it for production."""

    code = "version_not_approved"


class EndpointNameTaken(Conflict):
    """This name is taken. Choose another one."""

    code = "endpoint_name_taken"


class EndpointMoved(Conflict):
    """A live endpoint keeps its project. Undeploy it first, or leave the project out."""

    code = "endpoint_in_other_project"


class SignatureDiffers(Conflict):
    """The live endpoint of this name takes other input columns: its callers would break. Choose a new name, or ask for it with `replace`."""

    code = "signature_differs"


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """What a serving node must load for one endpoint. The node returns `generation` with its report."""

    tenant_id: UUID
    endpoint_id: UUID
    name: str
    project_id: UUID
    state: str
    generation: int
    slo_ms: int
    version_id: UUID
    version_label: str
    number: int
    weights: Stored
    signature_file: Stored
    signature: dict[str, Any]
    baseline: dict[str, Any]

    @property
    def wanted(self) -> bool:
        """Return whether the endpoint is to be served at all."""
        return self.state not in (EndpointState.UNDEPLOYED, EndpointState.STOPPED)


@operation(ENDPOINT_DEPLOYED)
def deploy(
    *,
    actor: Actor,
    name: str,
    version_id: UUID,
    project_id: UUID | None = None,
    slo_ms: int | None = None,
    replace: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Endpoint:
    """Serve a version in production under `name` and wait for a slot; a live endpoint is rolled over to it.

    The project pays; it defaults to the version's. Deploying the same version again changes nothing unless it had
    failed. `replace` allows a version with other input columns than the live one; `tags` are those of a new endpoint.
    Raises NotFound, Invalid, VersionNotApproved, EndpointNameTaken, EndpointMoved, SignatureDiffers, QuotaExceeded (409),
    BudgetExceeded and LaunchesStopped (402).
    """
    actor.require_somewhere("endpoints.manage")
    _check(actor, name, project_id, slo_ms)
    # Locked, so that nobody archives the version before the endpoint refers to it.
    version = visible_versions(actor).select_for_update(of=("self",), no_key=True).filter(id=version_id).first()
    if version is None:
        raise NotFound
    if version.stage != Stage.PRODUCTION:
        raise VersionNotApproved(stage=version.stage, version=str(version.id))
    require_launches()
    fresh = Endpoint(
        name=name,
        project_id=project_id or version.project_id,
        version=version,
        slo_ms=slo_ms or SLO_MS,
        tags=dict(tags or {}),
        created_by=actor.id,
        created_by_label=actor.label,
    )
    endpoint = _put(fresh)
    if endpoint.id != fresh.id:
        endpoint = roll_over(actor, endpoint, version, project_id, slo_ms, replace)
        slot_events.keep_tags(endpoint, tags)
        return endpoint
    if fault := project_fault(actor, "endpoints.manage", endpoint.project_id):
        raise Invalid(fields={"project": [fault]})
    actor.require("endpoints.manage", endpoint)
    check_tags(endpoint.tags, "endpoint")
    endpoint.allocation_id = slot_events.request_slot(actor, endpoint)
    Endpoint.objects.filter(id=endpoint.id).update(allocation_id=endpoint.allocation_id)
    _deployed(actor, endpoint, {"version": [None, str(version)], "slo_ms": [None, endpoint.slo_ms]})
    return endpoint


@operation(ENDPOINT_UNDEPLOYED)
def undeploy(*, actor: Actor, endpoint_id: UUID) -> None:
    """Stop serving an endpoint: release slot and quota, and revoke its keys. Raises NotFound.

    The node answers the calls in progress, records them, and releases the rest of the held money.
    """
    endpoint = lock(actor, endpoint_id)
    if endpoint.state == EndpointState.UNDEPLOYED:
        unchanged("it was undeployed before")
        return
    Endpoint.objects.filter(id=endpoint.id).update(
        state=EndpointState.UNDEPLOYED, message="", cause="", undeployed_at=DatabaseNow()
    )
    allocations.release(actor=actor, subject=endpoint.subject, reason="The endpoint was undeployed.")
    keys = EndpointKey.objects.filter(endpoint=endpoint, revoked_at=None)
    locked = keys.select_for_update(no_key=True).order_by("id")  # the lock order of credential revocation
    revoked = [str(row.id) for row in locked.only("id")]
    keys.update(revoked_at=DatabaseNow())
    changes = {"state": [endpoint.state, str(EndpointState.UNDEPLOYED)], "keys": [revoked, []]}
    record(ENDPOINT_UNDEPLOYED, actor=actor, target=endpoint, changes=changes)
    publish(EndpointUndeployed(tenant_id=actor.tenant_id, endpoint_id=endpoint.id))


def report(
    *, tenant_id: UUID, endpoint_id: UUID, generation: int, state: str, message: str = "", answering: bool = False
) -> bool:
    """Report, as a serving node, that a generation is `ready` or `failed`; False if it is no longer wanted.

    Idempotent. `message` is shown to people: no paths, no stack traces. A failed endpoint releases its slot and is
    charged no longer, unless the previous generation is still `answering`.
    """
    if state not in (EndpointState.READY, EndpointState.FAILED):
        raise ValueError(f"a node reports ready or failed, not {state}")
    actor = Actor.system(tenant_id, "serving node")
    keeps = answering or state == EndpointState.READY
    return _report(
        actor=actor, endpoint_id=endpoint_id, generation=generation, state=state, message=message[:2000], keeps=keeps
    )


@operation(ENDPOINT_REPORTED)
def _report(*, actor: Actor, endpoint_id: UUID, generation: int, state: str, message: str, keeps: bool) -> bool:
    endpoint = Endpoint.objects.select_for_update(no_key=True).filter(id=endpoint_id, generation=generation).first()
    if endpoint is None or endpoint.state in (EndpointState.UNDEPLOYED, EndpointState.STOPPED):
        unchanged("another generation is wanted by now")
        return False
    released = not keeps and allocations.release(actor=actor, subject=endpoint.subject, reason=NOT_LOADED)
    if (endpoint.state, endpoint.message) == (state, message) and not released:
        unchanged("it was reported before")
        return True
    Endpoint.objects.filter(id=endpoint.id).update(state=state, message=message)
    record(ENDPOINT_REPORTED, actor=actor, target=endpoint, changes={"state": [endpoint.state, state]}, reason=message)
    return True


def load_order(tenant_id: UUID, endpoint_id: UUID) -> EndpointSpec:
    """Return what a serving node must load for an endpoint, also if it is undeployed (`wanted`). Raises NotFound."""
    with tenant_scope(tenant_id):
        row = Endpoint.objects.select_related("version", "version__model").filter(id=endpoint_id).first()
        if row is None:
            raise NotFound
        version = row.version
        return EndpointSpec(
            tenant_id=tenant_id,
            endpoint_id=row.id,
            name=row.name,
            project_id=row.project_id,
            state=row.state,
            generation=row.generation,
            slo_ms=row.slo_ms,
            version_id=version.id,
            version_label=str(version),
            number=version.number,
            weights=version.weights,
            signature_file=version.signature_file,
            signature=version.signature,
            baseline=version.baseline,
        )


def lock(actor: Actor, endpoint_id: UUID, permission: str = "endpoints.manage") -> Endpoint:
    """Return an endpoint that the actor may manage, under its row lock. Raises NotFound, PermissionDenied."""
    actor.require_somewhere(permission)
    endpoint = visible_endpoints(actor).select_for_update(of=("self",), no_key=True).filter(id=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    actor.require(permission, endpoint)
    shares.check_managed(actor, "endpoint", endpoint_id)
    return endpoint


def _put(fresh: Endpoint) -> Endpoint:
    """Insert an endpoint, or return the live one of its name under its row lock, whichever came first."""
    while True:
        Endpoint.objects.bulk_create([fresh], ignore_conflicts=True)
        live = Endpoint.objects.exclude(state=EndpointState.UNDEPLOYED).select_for_update(no_key=True)
        found = live.filter(name=fresh.name).first()
        if found is not None:  # None: it was undeployed between the two statements
            return found


def roll_over(
    actor: Actor, endpoint: Endpoint, version: ModelVersion, project_id: UUID | None, slo_ms: int | None, replace: bool
) -> Endpoint:
    """Give a locked, live endpoint another version, or raise; the node serves the old one until it has swapped."""
    if not visible_endpoints(actor).filter(id=endpoint.id).exists():
        raise EndpointNameTaken
    actor.require("endpoints.manage", endpoint)
    shares.check_managed(actor, "endpoint", endpoint.id)
    if project_id is not None and project_id != endpoint.project_id:
        raise EndpointMoved
    columns = differing(inputs_of(endpoint.version.signature), inputs_of(version.signature))
    if columns and not replace:
        raise SignatureDiffers(live=str(endpoint.version), columns=str(columns))
    before = [str(endpoint.version), endpoint.slo_ms, endpoint.state]
    stands = slot_events.starts_again(endpoint)
    if endpoint.version_id == version.id and endpoint.slo_ms == (slo_ms or endpoint.slo_ms) and not stands:
        unchanged("it is deployed already")
        return endpoint
    endpoint.version, endpoint.slo_ms = version, slo_ms or endpoint.slo_ms
    endpoint.generation += 1
    if not allocations.has_slot(endpoint.subject):
        endpoint.allocation_id = slot_events.request_slot(actor, endpoint)
    if stands:
        endpoint.state, endpoint.message, endpoint.cause = EndpointState.DEPLOYING, "", ""
    names = ("version_id", "slo_ms", "generation", "state", "message", "cause", "allocation_id")
    changed = {name: getattr(endpoint, name) for name in names}
    Endpoint.objects.filter(id=endpoint.id).update(deployed_at=DatabaseNow(), **changed)
    after = [str(version), endpoint.slo_ms, str(endpoint.state)]
    told = zip(("version", "slo_ms", "state"), before, after, strict=True)
    _deployed(actor, endpoint, {name: [old, new] for name, old, new in told if old != new})
    return endpoint


def _deployed(actor: Actor, endpoint: Endpoint, changes: dict[str, Any]) -> None:
    changes["generation"] = [endpoint.generation - 1, endpoint.generation]
    record(ENDPOINT_DEPLOYED, actor=actor, target=endpoint, changes=changes)
    one, number = endpoint.id, endpoint.generation
    publish(
        EndpointDeployed(tenant_id=actor.tenant_id, endpoint_id=one, version_id=endpoint.version_id, generation=number)
    )
    allocations.wake()


def _check(actor: Actor, name: str, project_id: UUID | None, slo_ms: int | None) -> None:
    faults: dict[str, list[str]] = {}
    if not NAME.fullmatch(name):
        faults["name"] = ["Use 1 to 63 lower-case letters, digits and dashes; start with a letter or digit."]
    if project_id is not None and (fault := project_fault(actor, "endpoints.manage", project_id)):
        faults["project"] = [fault]
    if slo_ms is not None and not SLO_RANGE_MS[0] <= slo_ms <= SLO_RANGE_MS[1]:
        faults["slo_ms"] = [f"Use {SLO_RANGE_MS[0]} to {SLO_RANGE_MS[1]} milliseconds."]
    if faults:
        raise Invalid(fields=faults)
