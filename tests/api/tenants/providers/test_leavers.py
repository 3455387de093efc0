"""What becomes of the open jobs of people whom the provider removes by SCIM: as the organisation chose on the page or by the API."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from compute.models import Job
from tenants import operations
from tenants.identity import members
from tenants.identity.providers import scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Membership, Notification, Tenant, User
from tests.api.tenants.providers import steps
from tests.api.tenants.providers.test_scim import OFF, Scim
from tests.api.tenants.test_credentials import job_of
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
PAGE = "/t/ours/identity-provider/"


@pytest.fixture
def scim(tenant: Tenant) -> Scim:
    return Scim(scim_tokens.create(actor=steps.owner_of(tenant), name="provisioning").secret)


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(User.objects.get(email="owner@ours.example"))
    client.get("/t/ours/")
    return client


def choose(owner: Client, jobs: Any) -> Any:
    """Choose by the API."""
    return owner.put("/api/v1/identity-provider/leavers/", json.dumps({"jobs": str(jobs)}), "application/json")


def leave(tenant: Tenant, scim: Scim, name: str) -> list[tuple[str, str]]:
    """Have the provider deactivate a new member with three jobs, one of them over; return states and names of these."""
    made = scim.add(name)
    person = User.objects.get(email=name)
    ids = [job_of(tenant, person.id, state) for state in ("running", "queued", "succeeded")]
    assert scim.patch(f"Users/{made['id']}", *OFF["Entra ID"])["active"] is False
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user=person).exists()
        rows = Job.objects.filter(id__in=ids).order_by("id").values_list("state", "submitted_by_label")
        return list(rows)


def told(tenant: Tenant) -> str:
    """Return what the owner was notified of last."""
    with tenant_scope(tenant.id):
        rows = Notification.objects.filter(kind="leaver", user__email="owner@ours.example")
        return str(rows.latest("id").body)


def test_the_jobs_of_a_leaver_continue_are_cancelled_or_handed_over_as_chosen(
    tenant: Tenant, scim: Scim, owner: Client
) -> None:
    assert owner.get("/api/v1/identity-provider/").json()["leavers_jobs"] == "keep"
    kept = [("running", "leaver"), ("queued", "leaver"), ("succeeded", "leaver")]
    assert leave(tenant, scim, "ada@ours.example") == kept
    assert told(tenant).endswith("1 running, 1 queued jobs of theirs continue: cancel them on the page Jobs.")

    assert choose(owner, "cancel").json() == {"jobs": "cancel"}
    after = [("cancelled", "leaver"), ("cancelled", "leaver"), ("succeeded", "leaver")]
    assert leave(tenant, scim, "bob@ours.example") == after
    assert told(tenant).endswith("1 running, 1 queued jobs of theirs were cancelled.")

    heir = factories.make_member(tenant, "engineer")
    assert choose(owner, heir.id).json() == {"jobs": str(heir.id)}
    over = [("running", heir.email), ("queued", heir.email), ("succeeded", "leaver")]
    assert leave(tenant, scim, "cleo@ours.example") == over
    assert told(tenant).endswith(f"were handed over to {heir.email}.")
    assert owner.get("/api/v1/identity-provider/").json()["leavers_jobs"] == str(heir.id)
    with tenant_scope(tenant.id):
        handed = AuditEntry.objects.filter(action="compute.job.handed_over")
        assert {one.credential.partition(":")[0] for one in handed} == {"scim"}
        assert AuditEntry.objects.filter(action="compute.job.cancelled").count() == 2
        said = list(AuditEntry.objects.filter(action="tenants.identity_provider.leavers_chosen").order_by("seq"))
    assert [one.changes["jobs"] for one in said] == [["keep", "cancel"], ["cancel", "hand_over"]]
    assert choose(owner, heir.id).status_code == 200
    with tenant_scope(tenant.id):
        again = AuditEntry.objects.filter(action="tenants.identity_provider.leavers_chosen").count()
    assert again == 2, "nothing differs"


def test_somebody_is_out_although_their_jobs_cannot_be_handed_over(tenant: Tenant, scim: Scim, owner: Client) -> None:
    heir = factories.make_member(tenant, "engineer")
    choose(owner, heir.id)
    made = scim.add("ada@ours.example")
    person = User.objects.get(email="ada@ours.example")
    with tenant_scope(tenant.id):
        closed = operations.create_project(actor=steps.owner_of(tenant), slug="closed", name="Closed", restricted=True)
    hidden = job_of(tenant, person.id, "queued")
    with tenant_scope(tenant.id):
        Job.objects.filter(id=hidden).update(project_id=closed.id)
    scim("DELETE", f"Users/{made['id']}", status=204)
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user=person).exists()
        assert Job.objects.get(id=hidden).submitted_by_label == "leaver"
        entry = AuditEntry.objects.get(action="tenants.member.removed")
    assert entry.changes["jobs"][1] == "keep", "what was tried and undone has no entry"
    assert f"continue, since they could not be handed over to {heir.email}. Some of the jobs are hidden" in told(tenant)

    members.remove_member(actor=steps.owner_of(tenant), user_id=heir.id)
    page = text_of(owner.get(PAGE))
    assert f"{heir.email} was to get them, and is no longer a member" in page
    assert leave(tenant, scim, "bob@ours.example")[0] == ("running", "leaver")
    assert "could not be handed over" in told(tenant)


def test_owners_choose_on_the_page_and_only_among_members_who_launch_jobs(tenant: Tenant, owner: Client) -> None:
    engineer, viewer = factories.make_member(tenant, "engineer"), factories.make_member(tenant, "viewer")
    page = text_of(owner.get(PAGE))
    assert f"Hand them over to {engineer.email}" in page and f"Hand them over to {viewer.email}" not in page
    saved = owner.post(f"{PAGE}leavers/", {"jobs": str(engineer.id)}, follow=True)
    assert "It applies to members whom the provider removes next" in text_of(saved)
    assert f'<option value="{engineer.id}" selected>' in owner.get(PAGE).content.decode()
    for wrong in (str(viewer.id), "burn", str(UUID(int=1))):
        refused = owner.post(f"{PAGE}leavers/", {"jobs": wrong})
        assert (refused.status_code, 'id="leavers-refused"' in refused.content.decode()) == (422, True)
        assert choose(owner, wrong).json()["fields"].keys() == {"jobs"}
    finance = Client()
    finance.force_login(factories.make_member(tenant, "admin"))
    shown = finance.get(PAGE)
    assert f"They are handed over to {engineer.email}." in text_of(shown)
    assert finance.post(f"{PAGE}leavers/", {"jobs": "cancel"}).status_code == 403
