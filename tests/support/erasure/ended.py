"""Work of a tenant that has ended, whose rows stand for ever but for the names in them."""

from __future__ import annotations

from uuid import UUID, uuid4

from compute import holding
from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Allocation, Attempt, Device
from tenants.access.actor import Actor
from tenants.approvals import approvals
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant, User
from tests.support import selling


def end_work(tenant: Tenant, ids: dict[str, UUID], person: User) -> None:
    """Answer the request of `one_of_everything` in a person's name; end an attempt and an allocation that name them."""
    with tenant_scope(tenant.id):
        answerer = Actor.member(tenant_id=tenant.id, user_id=person.id, email=person.email, role="admin")
        approvals.decline(actor=answerer, approval_id=ids["approval_id"], reason=f"{person.email} knows why")
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**32)]
    with selling.as_control():
        nodes.register(name="ended", hostname="h", boot=uuid4(), found=found, missing_layers=[])
        device, attempt = Device.objects.select_related("node").get(node__name="ended"), uuid4()
        holding.take([device.id], attempt, tenant_id=tenant.id)
        with tenant_scope(tenant.id):
            Attempt.objects.create(
                id=attempt, job_id=ids["job_id"], token=1, node=device.node, device=device, device_name="cpu-0",
                device_class="cpu", state="ended", outcome="succeeded", message=f"hush: saved for {person.email}",
                ended_at=now(),
            )  # fmt: skip
            Allocation.objects.create(
                subject="endpoint:of before", project_id=ids["project_id"], state="ended", ended_at=now(),
                reason=f"hush: {person.email} stopped it", dims={"endpoint": "hush"}, requested_by=person.id,
                requested_by_label=person.email,
            )  # fmt: skip
        holding.free(attempt)
