"""Which node asks, by its secret, and whether the work that it names lives there: for what the platform hands to nodes."""

from __future__ import annotations

import hashlib
from uuid import UUID

from django.db.models import Q

from compute import kinds
from compute.jobs import transitions
from compute.models import Allocation, Attempt, AttemptState, NodeSecret, SlotState
from tenants.clock import DatabaseNow


def digest(secret: str) -> bytes:
    """Return what is stored of a node's secret."""
    return hashlib.sha256(secret.encode()).digest()


def node_of(secret: str) -> UUID | None:
    """Return the node whose secret this is; None if it is nobody's, or of a node that has ended."""
    known = NodeSecret.objects.filter(digest=digest(secret), node__ended_at=None)
    return known.values_list("node_id", flat=True).first()


def job_on(node_id: UUID, attempt_id: UUID, token: int) -> kinds.JobView | None:
    """Return the job of an attempt of the open scope that this node claimed and whose lease it keeps; None otherwise."""
    live = Attempt.objects.filter(
        id=attempt_id, token=token, node_id=node_id, state=AttemptState.RUNNING, lease_until__gt=DatabaseNow()
    )
    attempt = live.select_related("job").first()
    return None if attempt is None else transitions.view(attempt.job, attempt)


def has_slot_on(node_id: UUID, allocation_id: UUID) -> bool:
    """Return whether an allocation of the open scope is live on this node."""
    kept = Q(lease_until=None) | Q(lease_until__gt=DatabaseNow())
    return Allocation.objects.filter(kept, id=allocation_id, node_id=node_id, state=SlotState.LIVE).exists()
