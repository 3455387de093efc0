"""What a person asked for ends with their membership: nobody answers it any more."""

from __future__ import annotations

from tenants.access.actor import Actor
from tenants.approvals import approvals
from tenants.events.events import MemberRemoved, subscribe
from tenants.models import Approval, ApprovalState, Membership

BECAUSE = "The person who asked is no longer a member."


@subscribe(MemberRemoved)
def close_requests_of_a_leaver(event: MemberRemoved) -> None:
    """Decline the open requests of a person who left, also those that operators would answer, in the name of the system."""
    if Membership.objects.filter(user_id=event.user_id).exists():  # they came back since
        return
    rows = Approval.objects.filter(requester=event.user_id, state=ApprovalState.OPEN)
    for approval_id in rows.order_by("id").values_list("id", flat=True):
        approvals.decline_for_leaver(
            actor=Actor.system(event.tenant_id, "leaver"), approval_id=approval_id, reason=BECAUSE
        )
