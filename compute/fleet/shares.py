"""Which classes of devices may be shared, and in which parts: operators open and close them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Q

from billing.rating.quantity import WHOLE, share_of, share_said
from compute.limits import PARTS
from compute.models import Device, DeviceState, SharedClass
from compute.queries.capacity import class_title
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

SHARES_SET = "compute.device_class.shares_set"
OFFERED = tuple(share_said(WHOLE // parts) for parts in PARTS)
"""The shares that a class may be opened for, as texts, largest first."""


@dataclass(frozen=True)
class ClassShares:
    """A class of devices for jobs: how many are there, and the shares that may be launched on, as texts, largest first."""

    device_class: str
    devices: int
    shares: tuple[str, ...]
    set_by: str
    set_at: datetime | None

    @property
    def class_title(self) -> str:
        """The device class as pages write it."""
        return class_title(self.device_class)


def classes() -> list[ClassShares]:
    """Return every class ever in the pool for jobs, by name: two queries."""
    there = Count("id", filter=~Q(state=DeviceState.GONE))
    rows = (
        Device.objects.filter(serves=False).values_list("device_class").annotate(number=there).order_by("device_class")
    )
    opened = {row.device_class: row for row in SharedClass.objects.all()}
    found = []
    for name, number in rows:
        row = opened.get(name)
        shares = tuple(share_said(WHOLE // parts) for parts in row.parts) if row else ()
        found.append(ClassShares(name, number, shares, row.set_by_label if row else "", row.set_at if row else None))
    return found


def set_shares(*, operator: Operator, device_class: str, shares: Sequence[str], reason: str) -> ClassShares:
    """Open a class for these shares, such as `1/2`, and no others; for none it is closed. What was launched keeps its share.

    Raises Invalid for an unknown class or share, Conflict if nothing would change.
    """
    operator.require("fleet.manage")
    reason = check_reason(reason)
    known = {row.device_class: row for row in classes()}
    faults: dict[str, list[str]] = {}
    if device_class not in known:
        faults["device_class"] = [f"Choose one of: {', '.join(known)}." if known else "No device has joined yet."]
    if unknown := sorted(set(shares) - set(OFFERED)):
        faults["shares"] = [f"{', '.join(unknown)} is no share. Choose among {', '.join(OFFERED)}, or none of them."]
    if faults:
        raise Invalid(fields=faults)
    wanted = tuple(share for share in OFFERED if share in shares)
    said = ", ".join(wanted) or "closed"
    with transaction.atomic():
        row = SharedClass.objects.select_for_update(no_key=True).filter(device_class=device_class).first()
        parts = [WHOLE // (share_of(share) or WHOLE) for share in wanted]
        if parts == (row.parts if row else []):
            raise Conflict(f"{class_title(device_class)} devices are open for exactly that already: {said}.")
        new = SharedClass(
            device_class=device_class, parts=parts, set_by_label=operator.label[:254], set_at=DatabaseNow()
        )
        changed = ["parts", "set_by_label", "set_at"]
        SharedClass.objects.bulk_create(
            [new], update_conflicts=True, update_fields=changed, unique_fields=["device_class"]
        )
        record_act(
            operator, SHARES_SET, target=("device class", device_class, f"{device_class}: {said}"), reason=reason
        )
    return next(row for row in classes() if row.device_class == device_class)
