"""What webhooks receive of this app: members, approvals, the organisation's standing, checkpoints of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenants.audit import checkpoints
from tenants.events.events import (
    ApprovalAnswered,
    ApprovalRequested,
    MemberAdded,
    MemberRemoved,
    NotificationForWebhooks,
    StandingChanged,
)
from tenants.webhooks import publishing
from tenants.webhooks.catalogue import EventType, Fact, announce, register

CHECKPOINT = EventType("audit.checkpoint", "The audit log was signed")
#: What is sent of notifications for which a person chose webhooks.
MEMBER_NOTIFIED = "member.notified"


def checkpoint_signed(row_id: UUID, checkpoint: Mapping[str, Any]) -> None:
    """Send a checkpoint as it was stored: who keeps it can prove that the log was not rewritten since."""
    publishing.send_fact(
        Fact(type=CHECKPOINT.name, kind="audit_checkpoint", id=row_id, path="audit/", data=dict(checkpoint))
    )


announce(CHECKPOINT)
checkpoints.on_signed(checkpoint_signed)
register(
    MemberAdded,
    EventType("member.added", "A member was added"),
    describe=lambda event: Fact(type="member.added", kind="member", id=event.user_id, path="members/"),
)
register(
    MemberRemoved,
    EventType("member.removed", "A member was removed"),
    describe=lambda event: Fact(type="member.removed", kind="member", id=event.user_id, path="members/"),
)
register(
    ApprovalRequested,
    EventType("approval.requested", "A request waits for a second person"),
    describe=lambda event: Fact(
        type="approval.requested",
        kind="approval",
        id=event.approval_id,
        path=f"approvals/?of={event.approval_id}",
        data={"kind": event.kind},
    ),
)
register(
    ApprovalAnswered,
    EventType("approval.answered", "A request was answered"),
    describe=lambda event: Fact(
        type="approval.answered",
        kind="approval",
        id=event.approval_id,
        path=f"approvals/?of={event.approval_id}",
        data={"kind": event.kind, "state": event.state},
    ),
)
register(
    NotificationForWebhooks,
    EventType(MEMBER_NOTIFIED, "A member was notified, who chose webhooks for it"),
    describe=lambda event: Fact(
        type=MEMBER_NOTIFIED, kind="member", id=event.user_id, path=event.path, data={"notification": event.kind}
    ),
)
register(
    StandingChanged,
    EventType("organisation.standing_changed", "The organisation was suspended, resumed, closed or restored"),
    describe=lambda event: Fact(
        type="organisation.standing_changed",
        kind="organisation",
        id=event.tenant_id,
        path="settings/",
        data={"standing": event.standing},
    ),
)
