"""A tenant that restricts nothing pays nothing for it: its reads have no condition, from the first restriction on they do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.metering.metering import record_usage
from compute.jobs.visibility import hidden_jobs, visible_jobs
from models_app.access import names_of
from models_app.models import Dataset, DatasetVersion
from models_app.registry import registry
from tenants.clock import now
from tenants.grants import grants, roles
from tenants.identity.authentication import actor_today
from tenants.isolation.pages import read_together
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Notification, Project, Tenant
from tests.api.models_app.test_model_versions import another_version
from tests.api.objects import launchable, one_of_everything
from tests.support import factories
from tests.support.usage import interval

pytestmark = pytest.mark.django_db


def asked_for_jobs(client: Client) -> str:
    """Return the statement that lists the jobs."""
    with CaptureQueriesContext(connection) as seen:
        assert client.get("/api/v1/jobs/").status_code == 200
    (statement,) = (query["sql"] for query in seen.captured_queries if 'FROM "compute_job" WHERE' in query["sql"])
    return str(statement)


def restrict_by_page(tenant: Tenant, owner: Client) -> None:
    with tenant_scope(tenant.id):
        project = Project.objects.get().id
    form = {"name": "Default", "restricted": "on"}
    assert owner.post(f"/t/{tenant.slug}/projects/{project}/change/", form).status_code == 302


def restrict_by_api(tenant: Tenant, owner: Client) -> None:
    dataset = one_of_everything(tenant)["dataset_id"]
    body = {"restricted": True}
    assert owner.patch(f"/api/v1/datasets/{dataset}/", body, content_type="application/json").status_code == 200


def restrict_in_the_database(tenant: Tenant, owner: Client) -> None:
    with tenant_scope(tenant.id):
        Project.objects.create(slug="hush", name="Hush", restricted=True)


@pytest.mark.parametrize("restrict", [restrict_by_page, restrict_by_api, restrict_in_the_database])
def test_reads_have_no_condition_until_something_is_restricted(restrict: Callable[[Tenant, Client], None]) -> None:
    tenant, other = factories.make_tenant(), factories.make_tenant()
    viewer, owner, neighbour = Client(), Client(), Client()
    viewer.force_login(factories.make_member(tenant, "viewer"))
    owner.force_login(factories.make_member(tenant, "owner"))
    neighbour.force_login(factories.make_member(other, "viewer"))
    assert "restricted" not in asked_for_jobs(viewer)
    restrict(tenant, owner)
    assert "restricted" in asked_for_jobs(viewer), "from the next request on"
    assert "restricted" not in asked_for_jobs(owner), "an owner sees all"
    assert "restricted" not in asked_for_jobs(neighbour)


def test_a_guest_is_limited_where_nothing_is_restricted() -> None:
    tenant = factories.make_tenant()
    ids = one_of_everything(tenant)
    person, project = factories.make_member(tenant, "viewer"), factories.make_project(tenant)
    with tenant_scope(tenant.id):
        Dataset.objects.update(project=factories.default_project_id(tenant))
        Grant.objects.filter(membership__user=person).update(project=project)
    guest, viewer = Client(), Client()
    guest.force_login(person)
    viewer.force_login(factories.make_member(tenant, "viewer"))
    assert "tenants_project" in asked_for_jobs(guest)
    for kind in ("dataset", "model", "endpoint"):
        path = f"/api/v1/{kind}s/"
        assert [row["id"] for row in viewer.get(path).json()["results"]] == [str(ids[f"{kind}_id"])], path
        assert guest.get(path).json()["results"] == [], path


def test_no_job_is_withheld_where_nothing_is_hidden() -> None:
    tenant = factories.make_tenant()
    ids = one_of_everything(tenant)
    owner = Client()
    owner.force_login(factories.make_member(tenant, "owner"))
    with tenant_scope(tenant.id):
        used = interval(
            factories.default_project_id(tenant),
            now() - timedelta(seconds=60),
            30,
            resource=f"job:{ids['job_id']}",
            job_id=ids["job_id"],
            dims={"device_class": "cpu", "tier": "on_demand", "tag:team": "blue"},
        )
        record_usage([used])
    rows = owner.get("/api/v1/spend/?group_by=job,tag:team").json()["results"]
    assert (str(ids["job_id"]), "blue") in [(row["job"], row["tag:team"]) for row in rows]


def test_outside_requests_all_is_seen() -> None:
    tenant = factories.make_tenant()
    ids = one_of_everything(tenant)
    with tenant_scope(tenant.id):
        assert ids["job_id"] in visible_jobs().values_list("id", flat=True)
        assert hidden_jobs() == []
        table = DatasetVersion.objects.get(dataset_id=ids["dataset_id"]).id
        named = read_together(names_of({table, ids["version_id"], ids["endpoint_id"]}))["name"]
    assert sorted(name for _, name in named) == ["a model v1", "an-endpoint", "numbers v1"]


def test_an_approver_without_sight_of_restricted_data_is_notified_until_the_data_are_restricted() -> None:
    tenant = factories.make_tenant()
    first = one_of_everything(tenant)["version_id"]
    person, engineer = factories.make_member(tenant, "viewer"), factories.actor_for(tenant, "engineer")
    owner = factories.actor_for(tenant)
    role = roles.create_role(
        actor=owner, name="Approver", permissions=["datasets.view", "models.view", "models.approve"]
    )
    grants.give(actor=owner, holder=grants.Holder(user_id=person.id), role=role.id)

    def notified() -> int:
        with tenant_scope(tenant.id):
            return Notification.objects.filter(user=person, kind="model.approval").count()

    registry.promote(actor=engineer, version_id=another_version(tenant, first), stage="production")
    assert notified() == 1
    with tenant_scope(tenant.id):
        Dataset.objects.update(restricted=True, created_by=engineer.id)
    registry.promote(actor=engineer, version_id=another_version(tenant, first, number=3), stage="production")
    assert notified() == 1


def test_a_key_that_only_launches_uses_a_dataset_of_a_project_while_another_project_is_restricted() -> None:
    tenant = factories.make_tenant()
    order = launchable(tenant)
    with tenant_scope(tenant.id):
        Dataset.objects.update(project=factories.default_project_id(tenant))
        Project.objects.create(slug="hush", name="Hush", restricted=True)
    secret = factories.make_api_key(tenant, ["jobs.launch"])
    launcher = Client(headers={"Authorization": f"Bearer {secret}"})
    assert launcher.get("/api/v1/datasets/").status_code == 403
    answer = launcher.post("/api/v1/jobs/", order, content_type="application/json")
    assert answer.status_code == 201, answer.json()


def test_an_approver_of_restricted_data_is_not_notified_about_a_project_out_of_sight() -> None:
    tenant = factories.make_tenant()
    first = one_of_everything(tenant)["version_id"]
    owner = factories.actor_for(tenant)
    person, engineer = factories.make_member(tenant, "viewer"), factories.make_member(tenant, "engineer")
    permissions = ["datasets.view", "datasets.view_restricted", "models.view", "models.approve"]
    role = roles.create_role(actor=owner, name="Approver", permissions=permissions)
    grants.give(actor=owner, holder=grants.Holder(user_id=person.id), role=role.id)
    with tenant_scope(tenant.id):
        project = factories.default_project_id(tenant)
        Dataset.objects.update(restricted=True, created_by=engineer.id, project=project)
        Project.objects.update(restricted=True)
    grants.give(actor=owner, holder=grants.Holder(user_id=engineer.id), role="engineer", project_id=project)

    def promoted(number: int) -> int:
        with tenant_scope(tenant.id):
            launcher = actor_today(tenant.id, engineer.id)
        registry.promote(actor=launcher, version_id=another_version(tenant, first, number=number), stage="production")
        with tenant_scope(tenant.id):
            return Notification.objects.filter(user=person, kind="model.approval").count()

    assert promoted(2) == 0
    with tenant_scope(tenant.id):
        Project.objects.update(restricted=False)
    assert promoted(3) == 1
