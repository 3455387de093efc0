"""A tenant that restricts nothing pays nothing for it: its reads have no condition, from the first restriction on they do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Project, Tenant
from tests.api.objects import one_of_everything
from tests.support import factories

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
    person, project = factories.make_member(tenant, "viewer"), factories.make_project(tenant)
    with tenant_scope(tenant.id):
        Grant.objects.filter(membership__user=person).update(project=project)
    guest = Client()
    guest.force_login(person)
    assert "tenants_project" in asked_for_jobs(guest)
