"""Endpoints of an organisation that is suspended or closes: stopped, with their keys, and deployed again by themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from compute.allocations import allocations
from models_app.endpoints import deployments, endpoint_keys, slot_events
from models_app.models import Endpoint
from tenants import quotas
from tenants.clock import now
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant
from tests.support import factories
from tests.support.endpoints import make_endpoint, make_version

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


class Served:
    """A tenant with a ready endpoint and a key of it, and the console that changes its standing."""

    def __init__(self, console: Any, as_control: Control) -> None:
        self.console, self.as_control = console, as_control
        self.tenant: Tenant = factories.make_tenant("shop")
        self.endpoint: Endpoint = make_endpoint(self.tenant)
        actor = factories.actor_for(self.tenant)
        self.digest = endpoint_keys.key_hash(
            endpoint_keys.create(actor=actor, endpoint_id=self.endpoint.id, name="app").secret
        )
        deployments.report(tenant_id=self.tenant.id, endpoint_id=self.endpoint.id, generation=1, state="ready")

    def act(self, what: str) -> None:
        answer = self.console.post(f"/tenants/{self.tenant.id}/{what}/", {"reason": "Invoice 17 is open"})
        assert answer.status_code == 302, answer.content
        with self.as_control():
            outbox.drain(self.tenant.id)

    def now(self) -> tuple[str, str, bool, str]:
        """Return state, cause, whether it holds a slot, and why a serving node refuses its callers."""
        with tenant_scope(self.tenant.id):
            row = Endpoint.objects.get()
            slot = allocations.has_slot(row.subject)
        return row.state, row.cause, slot, slot_events.why_stopped(self.tenant.id, row.id)

    def keys(self) -> int:
        return len(endpoint_keys.known([self.digest]))


@pytest.fixture
def served(seller: Any, as_control: Control) -> Served:
    return Served(seller("platform_admin"), as_control)


def test_suspension_stops_an_endpoint_and_resuming_deploys_it_with_the_same_keys(served: Served) -> None:
    assert served.now() == ("ready", "", True, "")
    served.act("suspend")
    assert served.now() == ("stopped", "suspended", False, "suspended")
    assert served.keys() == 1, "its callers are refused as suspended, not as unknown"
    assert deployments.load_order(served.tenant.id, served.endpoint.id).wanted is False
    served.act("resume")
    assert served.now() == ("deploying", "", True, "")
    assert served.keys() == 1
    assert deployments.report(
        tenant_id=served.tenant.id, endpoint_id=served.endpoint.id, generation=2, state="ready"
    ), "the node loads it again"


def test_closing_can_be_undone_with_endpoints_and_keys(served: Served) -> None:
    served.act("suspend")
    served.act("close")
    assert served.now() == ("stopped", "suspended", False, "suspended")
    served.act("restore")
    assert served.now() == ("stopped", "suspended", False, "suspended"), "it was suspended before"
    served.act("resume")
    assert (served.now(), served.keys()) == (("deploying", "", True, ""), 1)
    with tenant_scope(served.tenant.id):
        Project.objects.update(archived_at=now())
    served.act("suspend")
    served.act("resume")
    assert served.now() == ("stopped", "refused", False, "refused"), "nothing starts in an archived project"
    with tenant_scope(served.tenant.id):
        assert "Restore the project first" in Endpoint.objects.get().message


def test_what_quota_refuses_stays_stopped_with_its_keys_and_says_why(served: Served) -> None:
    served.act("suspend")
    with tenant_scope(served.tenant.id):
        quotas.set_limit(actor=factories.actor_for(served.tenant), resource=allocations.QUOTA, limit=0)
    served.act("resume")
    assert served.now() == ("stopped", "refused", False, "refused")
    assert served.keys() == 1
    with tenant_scope(served.tenant.id):
        assert "could not be deployed again" in Endpoint.objects.get().message


def test_an_endpoint_that_stood_before_is_left_as_it_was(served: Served) -> None:
    other = make_endpoint(served.tenant, name="other", version=make_version(served.tenant))
    failed = "It could not be read."
    deployments.report(tenant_id=served.tenant.id, endpoint_id=other.id, generation=1, state="failed", message=failed)
    for act in ("suspend", "resume"):
        served.act(act)
        with tenant_scope(served.tenant.id):
            assert Endpoint.objects.get(id=other.id).state == "failed"
