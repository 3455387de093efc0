"""The part of an attempt that runs on a host other than that of rank 0: who may run it, and for how long.

The host with rank 0 holds the lease, meters all ranks and ends the attempt. The others read that lease and obey it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from compute.devices.base import DeviceKind
from compute.leases.messages import Claim, Fenced
from compute.models import Attempt, AttemptMember, AttemptState, Device
from compute.policy import WHOLE
from compute.sandbox.process import Slot
from tenants.clock import DatabaseNow, now
from tenants.isolation.scoping import tenant_scope


@dataclass(frozen=True)
class Part:
    """The ranks of an attempt that this node runs for another one."""

    tenant_id: UUID
    job_id: UUID
    kind: str
    attempt_id: UUID
    token: int
    node: str
    ranks: dict[int, Slot]


@dataclass(frozen=True)
class Sight:
    """What a part sees of its attempt: where to meet (empty until its first host says), and the seconds of its lease."""

    rendezvous: dict[str, Any]
    left_s: float | None


def join(*, tenant_id: UUID, attempt_id: UUID, token: int, node: str, boot: UUID) -> Part | None:
    """Return this node's part of a live attempt that another node leads; None if there is none."""
    with tenant_scope(tenant_id):
        live = Attempt.objects.exclude(state=AttemptState.ENDED).exclude(node__name=node)
        attempt = live.select_related("job").filter(id=attempt_id, token=token).first()
        members = AttemptMember.objects.filter(attempt_id=attempt_id, node__name=node, node__boot=boot)
        ranks = {one.rank: slot_of(one.device, one.share) for one in members.select_related("device").order_by("rank")}
        if attempt is None or not ranks:
            return None
        return Part(tenant_id, attempt.job_id, attempt.job.kind, attempt.id, token, node, ranks)


def look(part: Part) -> Sight | None:
    """Return what the part sees of its attempt; None once that has ended, or its lease has."""
    with tenant_scope(part.tenant_id):
        live = Attempt.objects.exclude(state=AttemptState.ENDED).filter(id=part.attempt_id, token=part.token)
        row = live.values_list("rendezvous", "lease_until").first()
        if row is None:
            return None
        rendezvous, until = row
        left = None if until is None else (until - now()).total_seconds()
    return None if left is not None and left <= 0 else Sight(rendezvous, left)


def publish(mine: Claim, rendezvous: dict[str, Any]) -> None:
    """Say where the other hosts of a claimed attempt meet this one. Raises Fenced if it is not ours any more."""
    with tenant_scope(mine.job.tenant_id):
        live = Attempt.objects.filter(
            id=mine.attempt_id, token=mine.token, state=AttemptState.RUNNING, lease_until__gt=DatabaseNow()
        )
        if not live.update(rendezvous=rendezvous):
            raise Fenced


def elsewhere(members: list[AttemptMember], node: str) -> dict[str, tuple[int, ...]]:
    """Return the ranks of each other node, by its name."""
    found: dict[str, list[int]] = defaultdict(list)
    for member in members:
        if member.node.name != node:
            found[member.node.name].append(member.rank)
    return {name: tuple(ranks) for name, ranks in found.items()}


def slot_of(device: Device, share: int = WHOLE) -> Slot:
    """Return the slot of a device, or of so many thousandths of it, with one thread until its host says how many."""
    return Slot(
        kind=cast(DeviceKind, device.kind),
        uuid=device.uuid,
        index=device.index,
        threads=1,
        memory_bytes=device.memory_bytes * share // WHOLE,
        share=share,
    )
