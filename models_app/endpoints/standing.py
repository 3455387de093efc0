"""Endpoints of an organisation that is suspended, or about to be closed: stopped politely, and deployed again by themselves.

A stopped endpoint costs nothing and keeps its name and its keys; its callers are refused with `tenant_suspended`.
"""

from __future__ import annotations

from uuid import UUID

from compute.allocations import allocations
from models_app.endpoints import deployments, slot_events
from models_app.endpoints.slot_events import ENDPOINT_STOPPED, SUSPENDED
from models_app.events import EndpointStopped
from models_app.models import Endpoint, EndpointState
from tenants.access.actor import Actor
from tenants.audit import operation, record, unchanged
from tenants.errors import ExchequerError
from tenants.events.events import publish

STOPPED = (
    "The organisation is suspended or being closed. The endpoint is deployed again when the organisation is resumed."
)
NOT_AGAIN = "It was stopped while the organisation was suspended, and could not be deployed again: {why} Its name and keys are kept."


@operation(ENDPOINT_STOPPED)
def stop(*, actor: Actor, endpoint_id: UUID) -> None:
    """Stop an endpoint that is served or deploys: release its slot and what is held; keep its keys. Raises NotFound."""
    endpoint = deployments.lock(actor, endpoint_id)
    if endpoint.state not in (EndpointState.DEPLOYING, EndpointState.READY):
        unchanged("nothing of it runs")
        return
    changes = {"state": [endpoint.state, str(EndpointState.STOPPED)], "cause": [endpoint.cause, SUSPENDED]}
    Endpoint.objects.filter(id=endpoint.id).update(state=EndpointState.STOPPED, cause=SUSPENDED, message=STOPPED)
    allocations.release(actor=actor, subject=endpoint.subject, reason=STOPPED)
    record(ENDPOINT_STOPPED, actor=actor, target=endpoint, changes=changes, reason=STOPPED)
    publish(EndpointStopped(tenant_id=actor.tenant_id, endpoint_id=endpoint.id, cause=SUSPENDED))


def stopped_by_standing() -> list[UUID]:
    """Return the endpoints of the open scope that wait for their organisation to be resumed."""
    rows = Endpoint.objects.filter(state=EndpointState.STOPPED, cause=SUSPENDED).order_by("id")
    return list(rows.values_list("id", flat=True))


def resume(*, actor: Actor, endpoint_id: UUID) -> bool:
    """Deploy a stopped endpoint again as it was; where quota or budget refuse it, its page says so. Return whether it was."""
    try:
        _deploy_again(actor=actor, endpoint_id=endpoint_id)
    except ExchequerError as refused:
        _stays(actor=actor, endpoint_id=endpoint_id, why=refused.message)
        return False
    return True


@operation(deployments.ENDPOINT_DEPLOYED)
def _deploy_again(*, actor: Actor, endpoint_id: UUID) -> None:
    endpoint = deployments.lock(actor, endpoint_id)
    if endpoint.state != EndpointState.STOPPED:
        unchanged("it is not stopped")
        return
    deployments.roll_over(actor, endpoint, endpoint.version, None, endpoint.slo_ms, False)


@operation(ENDPOINT_STOPPED)
def _stays(*, actor: Actor, endpoint_id: UUID, why: str) -> None:
    endpoint = deployments.lock(actor, endpoint_id)
    message = NOT_AGAIN.format(why=why)
    Endpoint.objects.filter(id=endpoint.id).update(cause=slot_events.REFUSED, message=message)
    changes = {"cause": [endpoint.cause, slot_events.REFUSED]}
    record(ENDPOINT_STOPPED, actor=actor, target=endpoint, changes=changes, reason=message)
