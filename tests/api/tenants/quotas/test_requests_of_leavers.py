"""What somebody asked for who is no longer a member is answered by nobody any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tenants.access.actor import Actor
from tenants.approvals import access_requests, approvals
from tenants.events import outbox
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, AuditEntry, Tenant, User
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def asked() -> tuple[Tenant, User, Approval]:
    """A tenant, and the open request of a member who is removed; the event of the removal is not delivered yet."""
    tenant = factories.make_tenant("ours")
    mei = factories.make_member(tenant, "viewer", "mei@ours.example")
    actor = Actor.member(tenant_id=tenant.id, user_id=mei.id, email=mei.email, role="viewer")
    row = access_requests.request(actor=actor, role="finance", reason="For the audit")
    members.remove_member(actor=factories.actor_for(tenant), user_id=mei.id)
    return tenant, mei, row


def test_removal_closes_open_requests_with_an_entry(asked: Any, as_control: Control) -> None:
    tenant, _, row = asked
    with as_control():
        outbox.drain(tenant.id)
    with tenant_scope(tenant.id):
        found = Approval.objects.get(id=row.id)
        assert (found.state, found.answered_by_label) == ("declined", "leaver")
        entry = AuditEntry.objects.get(action="tenants.approval.declined")
        assert "no longer a member" in entry.reason
    listed = client_for(tenant, "owner").get("/api/v1/approvals/", {"state": "open"}).json()["results"]
    assert listed == []


def test_approving_before_it_is_closed_says_what_is_the_matter(asked: Any) -> None:
    tenant, _, row = asked
    owner = client_for(tenant, "owner")
    refused = owner.post(f"/api/v1/approvals/{row.id}/approve/", {}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_outdated")
    assert "mei@ours.example is no longer a member" in refused.json()["title"]
    page = owner.post(f"/t/ours/approvals/{row.id}/answer/", {"answer": "approve", "reason": ""})
    assert page.status_code != 404 and "no longer a member" in text_of(page)
    declined = owner.post(f"/api/v1/approvals/{row.id}/decline/", {}, content_type="application/json")
    assert declined.status_code == 200


def test_what_a_request_names_may_be_gone(asked: Any) -> None:
    tenant, _, _ = asked
    actor = factories.actor_for(tenant, "viewer")
    made = access_requests.request(actor=actor, role="finance", reason="For the audit")
    with tenant_scope(tenant.id):
        Approval.objects.filter(id=made.id).update(wanted=made.wanted | {"role": str(made.id)})
    with pytest.raises(approvals.Outdated):
        approvals.approve(actor=factories.actor_for(tenant), approval_id=made.id)
