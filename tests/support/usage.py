"""Usage for tests of billing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from billing.metering.metering import Interval
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import factories, selling

if TYPE_CHECKING:
    from tests.conftest import DemoClock

DIMS = {"device_class": "cpu", "tier": "on_demand"}


def interval(project_id: UUID, start: datetime, seconds: int, key: str = "", **more: Any) -> Interval:
    """Return an interval of device seconds with its own key."""
    return Interval(
        **{
            "key": key or uuid4().hex,
            "meter": "device_seconds",
            "resource": "device:1",
            "project_id": project_id,
            "start": start,
            "end": start + timedelta(seconds=seconds),
            "dims": DIMS,
            **more,
        }
    )


def priced_tenant(demo_clock: DemoClock, now: datetime, *, for_: timedelta) -> Tenant:
    """Return a tenant that has had the default prices for so long when it is `now`."""
    demo_clock.move_to(now - for_)
    made = factories.make_tenant()
    with tenant_scope(made.id):
        selling.provision_defaults()
    demo_clock.move_to(now)
    return made
