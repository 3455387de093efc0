"""Platform events of this app: requests and looks that wait, the standing of organisations, exports, the audit log, webhooks."""

from __future__ import annotations

from uuid import UUID

from tenants.approvals import kinds
from tenants.clock import now
from tenants.events.events import ApprovalRequested, GlassBroken, StandingChanged, subscribe
from tenants.models import BreakGlass
from tenants.operators.platform_events.catalogue import PlatformEventType, register
from tenants.operators.platform_events.delivering import FAILING
from tenants.operators.platform_events.raising import raise_event

ASKED, BEGAN = "look.asked", "look.began"
CHECKPOINT = "audit.checkpoint_failed"
EXPORTED, ERASED = "organisation.exported", "organisation.erased"
REQUESTED, STANDING = "approval.requested", "organisation.standing_changed"

register(
    PlatformEventType(
        name=REQUESTED,
        title="An organisation asks for a higher ceiling",
        reads="quotas.view",
        acts="quotas.manage",
    ),
    PlatformEventType(
        name=ASKED,
        title="A look inside an organisation waits for a second operator",
        reads="log.view",
        acts="tenants.manage",
    ),
    PlatformEventType(name=BEGAN, title="A look inside an organisation began", reads="log.view", acts="operators.view"),
    PlatformEventType(
        name=STANDING,
        title="An organisation was suspended, resumed, closed or restored",
        reads="tenants.view",
        acts="tenants.manage",
    ),
    PlatformEventType(
        name=EXPORTED, title="An export of an organisation is ready", reads="tenants.view", acts="tenants.export"
    ),
    PlatformEventType(name=ERASED, title="An organisation was erased", reads="tenants.view", acts="tenants.erase"),
    PlatformEventType(
        name=CHECKPOINT, title="The audit log could not be signed", reads="log.view", acts="operators.view"
    ),
    PlatformEventType(
        name=FAILING,
        title="A webhook of the platform accepts nothing",
        reads="webhooks.manage",
        acts="webhooks.manage",
    ),
)


@subscribe(ApprovalRequested)
def pass_request_on(event: ApprovalRequested) -> None:
    """Raise what operators answer."""
    kind = kinds.find(event.kind)
    if kind is not None and kind.side == kinds.OPERATORS:
        raise_event(
            REQUESTED,
            of=("approval", event.approval_id),
            path="approvals/",
            about=event.tenant_id,
            data={"kind": event.kind},
        )


@subscribe(GlassBroken)
def pass_look_on(event: GlassBroken) -> None:
    """Raise that a look begins."""
    look = BreakGlass.objects.filter(id=event.look_id).first()
    if look is not None:
        _raise_look(BEGAN, look)


@subscribe(StandingChanged)
def pass_standing_on(event: StandingChanged) -> None:
    """Raise the new standing."""
    raise_event(
        STANDING,
        of=("organisation", event.tenant_id),
        path=f"tenants/{event.tenant_id}/",
        about=event.tenant_id,
        data={"standing": event.standing},
    )


def look_asked(look: BreakGlass) -> None:
    """Raise that a look waits for a second operator, in the console's transaction."""
    _raise_look(ASKED, look)


def export_ready(tenant_id: UUID, export_id: UUID) -> None:
    """Raise that an archive is ready."""
    raise_event(EXPORTED, of=("export", export_id), path=f"tenants/{tenant_id}/", about=tenant_id)


def erased(tenant_id: UUID) -> None:
    """Raise that what a tenant stored is erased."""
    raise_event(ERASED, of=("organisation", tenant_id), path=f"tenants/{tenant_id}/", about=tenant_id)


def checkpoint_failed() -> None:
    """Raise, once an hour, that heads of the audit log could not be signed or stored."""
    hour = f"{now():%Y-%m-%d %H}"
    raise_event(CHECKPOINT, of=("audit_log", "checkpoints"), path="log/", once=hour)


def _raise_look(name: str, look: BreakGlass) -> None:
    raise_event(
        name,
        of=("look", look.id),
        path="looks/",
        once=look.id,
        about=look.tenant_id,
        data={"minutes": look.minutes},
    )
