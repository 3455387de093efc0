"""Subscribers of this app to events of other apps."""

from __future__ import annotations

from django.db import transaction

from compute.events import JobEnded, SlotLost, SlotUnpaid
from models_app import wakeups
from models_app.endpoints import deployments, slot_events, standing
from models_app.events import DatasetVersionRemoved, EndpointDeployed, EndpointUndeployed, HealthAlertOpened
from models_app.files import orphans
from models_app.models import Endpoint, EndpointState
from models_app.monitoring import alerts
from models_app.object_store import storage
from tenants.access.actor import Actor
from tenants.events.events import StandingChanged, subscribe
from tenants.models import Tenant


@subscribe(JobEnded)
def remove_what_the_job_left(event: JobEnded) -> None:
    """Remove checkpoints and fenced results of an ended job, after its end is committed."""
    transaction.on_commit(lambda: wakeups.wake_remove_job_files(event.job_id, event.tenant_id))


@subscribe(DatasetVersionRemoved)
def remove_its_files(event: DatasetVersionRemoved) -> None:
    """Remove a removed version's file and table from the store, unless another version refers to them."""
    keys = [key for key in event.keys.values() if key]
    storage.delete(event.tenant_id, orphans.unreferenced(event.tenant_id, keys))


@subscribe(SlotLost)
def wait_for_another_slot(event: SlotLost) -> None:
    """Record on the endpoint that its node became unresponsive."""
    slot_events.displaced(actor=Actor.system(event.tenant_id, "controller"), subject=event.subject)


@subscribe(SlotUnpaid)
def stop_without_money(event: SlotUnpaid) -> None:
    """Stop an endpoint whose slot its budget no longer pays."""
    slot_events.stopped(
        actor=Actor.system(event.tenant_id, "controller"), subject=event.subject, allocation_id=event.allocation_id
    )


@subscribe(StandingChanged)
def follow_standing(event: StandingChanged) -> None:
    """Stop the endpoints of a tenant that is no longer active, deploy them again when it is, undeploy those of a closed one.

    What is being answered is answered.
    """
    now = Tenant.objects.get(id=event.tenant_id).standing  # it may have changed since
    system = Actor.system(event.tenant_id, "operator")
    if now == "active":
        for endpoint_id in standing.stopped_by_standing():
            standing.resume(actor=system, endpoint_id=endpoint_id)
        return
    end = deployments.undeploy if now == "closed" else standing.stop
    live = Endpoint.objects.exclude(state=EndpointState.UNDEPLOYED).order_by("id")
    for endpoint_id in live.values_list("id", flat=True):
        end(actor=system, endpoint_id=endpoint_id)


@subscribe(HealthAlertOpened)
def notify_alert(event: HealthAlertOpened) -> None:
    """Notify those who may act on the endpoint."""
    alerts.handle_opened(event.alert_id)


@subscribe(EndpointDeployed)
def resolve_alerts_of_other_versions(event: EndpointDeployed) -> None:
    """Close alerts about the previously served version."""
    alerts.resolve_of_other_versions(event.endpoint_id, event.version_id)


@subscribe(EndpointUndeployed)
def resolve_alerts_of_an_endpoint(event: EndpointUndeployed) -> None:
    """Close all alerts of an endpoint that no longer serves."""
    alerts.resolve(event.endpoint_id)
