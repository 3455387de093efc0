"""A permission held in one project counts in no other, and any right in a restricted project opens it."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.models import Dataset
from tenants import operations, quotas
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.grants import groups
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Grant, Membership, Project, Role, Tenant, User
from tenants.quotas import Scope
from tenants.sharing import shares
from tests.api.objects import one_of_everything
from tests.api.reading import body_of, client_of
from tests.support import factories

pytestmark = pytest.mark.django_db
Held = tuple[list[str], Project | None]


class Lab:
    """A tenant with a job and a data set in the project `here`, and nothing in `there`."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.make_tenant("lab")
        self.ids = one_of_everything(self.tenant)
        self.there = operations.create_project(actor=factories.actor_for(self.tenant), slug="there", name="There")
        with tenant_scope(self.tenant.id):
            self.here = Project.objects.get(id=factories.default_project_id(self.tenant))
            Dataset.objects.update(project=self.here)

    def person(self, *held: Held) -> User:
        user = factories.make_user()
        with tenant_scope(self.tenant.id):
            member = Membership.objects.create(user=user)
            for number, (permissions, project) in enumerate(held):
                role = Role.objects.create(name=f"{user.email} {number}", permissions=sorted(permissions))
                Grant.objects.create(membership=member, role=role, project=project)
        return user

    def jobs(self, user: User) -> list[str]:
        answer = client_of(user).get("/api/v1/jobs/", headers={"X-Exchequer-Tenant": "lab"})
        assert answer.status_code == 200
        return [one["id"] for one in answer.json()["results"]]

    def share(self, user: User) -> int:
        other = factories.make_member(self.tenant, "viewer")
        path = f"/api/v1/datasets/{self.ids['dataset_id']}/shares/"
        answer: Any = client_of(user).post(
            path, {"user": str(other.id)}, content_type="application/json", headers={"X-Exchequer-Tenant": "lab"}
        )
        return int(answer.status_code)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_jobs_show_where_jobs_may_be_seen_and_in_no_project_of_other_rights(lab: Lab) -> None:
    reads = ["jobs.view", "datasets.view"]
    assert lab.jobs(lab.person((reads, lab.here))) == [str(lab.ids["job_id"])]
    assert lab.jobs(lab.person((["datasets.view"], lab.here), (reads, lab.there))) == []


def test_model_health_opens_to_who_sees_endpoints_in_one_project_alone(lab: Lab) -> None:
    guest = client_of(lab.person((["tenant.view", "endpoints.view"], lab.there)))
    stranger = client_of(lab.person((["tenant.view", "jobs.view"], lab.there)))
    for path, status in (("/t/lab/dash/health/", 200), ("/t/lab/dash/health/_dash-layout", 200)):
        assert guest.get(path).status_code == status, path
        assert stranger.get(path).status_code == 403, path


def test_any_right_in_a_restricted_project_opens_it_to_who_reads_jobs_everywhere(lab: Lab) -> None:
    with tenant_scope(lab.tenant.id):
        Project.objects.filter(id=lab.here.id).update(restricted=True)
    reads = ["tenant.view", "jobs.view", "datasets.view"]
    assert lab.jobs(lab.person((reads, None), (["datasets.view"], lab.here))) == [str(lab.ids["job_id"])]
    assert lab.jobs(lab.person((reads, None), (["datasets.view"], lab.there))) == []


def test_a_guest_reads_no_addresses_and_no_limits_of_the_organisation(lab: Lab) -> None:
    owner = factories.actor_for(lab.tenant)
    zoe = factories.make_member(lab.tenant, "engineer", "zoe@example.org")
    with tenant_scope(lab.tenant.id):
        for scope, limit in ((Scope(person=zoe.id), 71), (Scope(), 72), (Scope(project_id=lab.here.id), 73)):
            quotas.set_limit(actor=owner, resource="devices:cpu", limit=limit, scope=scope)
    pages = ["approvals/", *(f"{kind}s/{lab.ids[f'{kind}_id']}/" for kind in ("job", "endpoint", "dataset"))]

    def seen(user: User) -> list[str]:
        texts = [body_of(client_of(user).get(f"/t/lab/{page}")) for page in pages]
        words = ("zoe@example.org", "A team", "71 now", "72 now", "73 now")
        return [word for word in words if any(word in text for text in texts)]

    assert seen(lab.person((sorted(ROLE_PERMISSIONS["admin"]), lab.here))) == ["73 now"], "what it may ask for"
    assert len(seen(lab.person((sorted(ROLE_PERMISSIONS["engineer"]), None)))) == 5


def test_sharing_needs_the_permission_in_the_objects_project(lab: Lab) -> None:
    reads = ["tenant.view", "datasets.view"]
    assert lab.share(lab.person((reads, None), (["datasets.share"], lab.there))) == 403
    assert lab.share(lab.person((reads, None), (["datasets.share"], lab.here))) == 201


def test_a_share_with_a_group_is_listed_and_its_end_is_one_entry(lab: Lab) -> None:
    owner = client_of(factories.make_member(lab.tenant, "owner"))
    path, head = f"/api/v1/datasets/{lab.ids['dataset_id']}/shares/", {"X-Exchequer-Tenant": "lab"}
    group = str(lab.ids["group_id"])
    shared = owner.post(path, {"group": group}, content_type="application/json", headers=head)
    assert (shared.status_code, shared.json()["group"]) == (201, group)
    assert [one["group"] for one in owner.get(path, headers=head).json()["results"]] == [group]
    with tenant_scope(lab.tenant.id):
        begun = AuditEntry.objects.filter(action="models_app.dataset.shared")
        assert [one.changes for one in begun] == [{"shared_with": [None, group]}]
    page = owner.get(f"/t/lab/datasets/{lab.ids['dataset_id']}/").content.decode()
    assert f"/{group}/end/" in page
    for _ in range(2):
        assert owner.delete(f"{path}{group}/", headers=head).status_code == 204
        with tenant_scope(lab.tenant.id):
            ended = AuditEntry.objects.filter(action="models_app.dataset.unshared")
            assert [one.changes for one in ended] == [{"shared_with": [group, None]}]


def test_nobody_adds_people_to_a_group_with_which_something_is_shared_that_they_do_not_see(lab: Lab) -> None:
    owner, friend = factories.actor_for(lab.tenant), lab.person((["tenant.view", "datasets.view"], None))
    adder = lab.person((["tenant.view", "datasets.view", "members.manage"], None))
    group = groups.create_group(actor=owner, name="Readers")
    with tenant_scope(lab.tenant.id):
        Dataset.objects.update(restricted=True)
    shares.share(actor=owner, kind="dataset", object_id=lab.ids["dataset_id"], group_id=group.id)
    headers = {"X-Exchequer-Tenant": "lab"}
    path = f"/api/v1/groups/{group.id}/members/"

    def add(who: User) -> Any:
        body = {"user_id": str(friend.id)}
        return client_of(who).post(path, body, content_type="application/json", headers=headers)

    def seen() -> int:
        return len(client_of(friend).get("/api/v1/datasets/", headers=headers).json()["results"])

    refused = add(adder)
    assert (refused.status_code, "opens what you do not see" in refused.json()["title"]) == (403, True)
    assert seen() == 0
    assert add(factories.make_member(lab.tenant, "owner")).status_code in (200, 201, 204)
    assert seen() == 1, "the group opens it"
