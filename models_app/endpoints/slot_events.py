"""Endpoint reactions to slots: requesting one, losing one, and stopping when no budget pays.

Locks: the endpoint's row, then those of its allocation (`compute.allocations.allocations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import connection

from billing.rating.tags import as_dims
from compute.allocations import allocations
from models_app.access import endpoint_audience
from models_app.events import EndpointDisplaced, EndpointStopped
from models_app.models import Endpoint, EndpointState
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid
from tenants.events.events import publish
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project
from tenants.notifications import notifications

ENDPOINT_DISPLACED = AuditAction("models_app.endpoint.displaced")
ENDPOINT_STOPPED = AuditAction("models_app.endpoint.stopped")
DISPLACED = "Its serving node stopped answering. It continues when another slot is free."
UNPAID = "Its budget has no headroom to keep it deployed. Raise the budget, then deploy it again; its name and keys are kept."
#: Causes for which an endpoint is stopped: no budget pays, its organisation is suspended, it could not be deployed again.
BUDGET, SUSPENDED, REFUSED = "budget", "suspended", "refused"


class ProjectArchived(Conflict):
    """This endpoint does not run, and nothing starts in an archived project. Restore the project first."""

    code = "project_archived"


def starts_again(endpoint: Endpoint) -> bool:
    """Return whether a deployment starts a live endpoint again, which has stopped or failed. Raises ProjectArchived.

    In an archived project what runs goes on, with another version too.
    """
    if endpoint.state not in (EndpointState.FAILED, EndpointState.STOPPED):
        return False
    if Project.objects.filter(id=endpoint.project_id, archived_at__isnull=False).exists():
        raise ProjectArchived
    return True


def request_slot(actor: Actor, endpoint: Endpoint) -> UUID:
    """Request a slot, as part of an open operation. Raises BudgetExceeded (402), QuotaExceeded (409)."""
    return allocations.request(
        actor=actor,
        subject=endpoint.subject,
        project_id=endpoint.project_id,
        dims={"endpoint": endpoint.name, **as_dims(endpoint.tags)},
    )


def keep_tags(endpoint: Endpoint, tags: Mapping[str, str] | None) -> None:
    """Refuse other tags for a live endpoint: its slot and its usage carry them. Raises Invalid."""
    if tags is not None and dict(tags) != endpoint.tags:
        raise Invalid(fields={"tags": ["A live endpoint keeps its tags. Leave them out, or undeploy it first."]})


@operation(ENDPOINT_DISPLACED)
def displaced(*, actor: Actor, subject: str) -> None:
    """Record that an endpoint lost its slot and waits for another; no-op if it already has one again."""
    slot = allocations.slots([subject]).get(subject)
    ready = Endpoint.objects.select_for_update(no_key=True).filter(state=EndpointState.READY)
    endpoint = ready.filter(allocation_id=slot.id).first() if slot is not None else None
    if endpoint is None or slot is None or not slot.waits:
        unchanged("it does not wait for a slot")
        return
    Endpoint.objects.filter(id=endpoint.id).update(state=EndpointState.DEPLOYING, message=DISPLACED)
    changes = {"state": [endpoint.state, str(EndpointState.DEPLOYING)]}
    record(ENDPOINT_DISPLACED, actor=actor, target=endpoint, changes=changes, reason=DISPLACED)
    publish(EndpointDisplaced(tenant_id=actor.tenant_id, endpoint_id=endpoint.id))


@operation(ENDPOINT_STOPPED)
def stopped(*, actor: Actor, subject: str, allocation_id: UUID) -> None:
    """Stop an endpoint whose slot no budget pays, and notify those who may redeploy it; no-op if it has another slot."""
    live = Endpoint.objects.exclude(state__in=(EndpointState.UNDEPLOYED, EndpointState.STOPPED))
    endpoint = live.select_for_update(no_key=True).filter(allocation_id=allocation_id).first()
    if endpoint is None or endpoint.subject != subject:
        unchanged("it was undeployed, or deployed again, meanwhile")
        return
    Endpoint.objects.filter(id=endpoint.id).update(state=EndpointState.STOPPED, cause=BUDGET, message=UNPAID)
    changes = {"state": [endpoint.state, str(EndpointState.STOPPED)], "cause": ["", BUDGET]}
    record(ENDPOINT_STOPPED, actor=actor, target=endpoint, changes=changes, reason=UNPAID)
    publish(EndpointStopped(tenant_id=actor.tenant_id, endpoint_id=endpoint.id))
    notifications.notify(
        permission=endpoint_audience(endpoint), kind="endpoint_stopped", title=f"Endpoint {endpoint.name} stopped: its budget is used up",
        body=UNPAID, path=f"endpoints/{endpoint.id}/",
    )  # fmt: skip


def why_stopped(tenant_id: UUID, endpoint_id: UUID) -> str:
    """Return, for a serving node, why it serves no such endpoint: SUSPENDED, BUDGET, or empty if it is to be served."""
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT exchequer_why_not_served(%s, %s)", [endpoint_id, allocations.UNPAID_REASON])
        (cause,) = cursor.fetchone()
        return str(cause)
