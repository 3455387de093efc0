"""A share gives sight and use of one object, and no management; guests work with the organisation's open datasets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from compute.models import Job
from models_app.models import Dataset, Endpoint, EndpointKey, ModelVersion
from tenants.grants import grants
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Project, Tenant, User
from tenants.sharing import shares
from tests.api.objects import launchable, one_of_everything
from tests.api.reading import client_of
from tests.support import factories

pytestmark = pytest.mark.django_db
IN_ROW = {"X-Exchequer-Tenant": "lab"}
Lab = tuple[Tenant, dict[str, Any], User]


@pytest.fixture
def lab() -> Lab:
    """Return a tenant whose objects are in a restricted project, and an engineer with whom each is shared."""
    tenant = factories.make_tenant("lab")
    ids = one_of_everything(tenant)
    engineer, owner = factories.make_member(tenant, "engineer"), factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        Project.objects.update(restricted=True)
        Dataset.objects.update(project=Project.objects.get())
        for kind in ("dataset", "model", "endpoint", "job"):
            shares.share(actor=owner, kind=kind, object_id=ids[f"{kind}_id"], user_id=engineer.id)
    return tenant, ids, engineer


def send(who: User | Client, method: str, path: str, body: Any = None) -> Any:
    client = who if isinstance(who, Client) else client_of(who)
    more = {} if body is None else {"data": body, "content_type": "application/json"}
    return getattr(client, method)(path, headers=IN_ROW, **more)


def test_what_is_seen_by_a_share_alone_is_read_and_not_managed(lab: Lab) -> None:
    tenant, ids, engineer = lab
    other = factories.make_member(tenant, "viewer")
    admin = factories.make_member(tenant, "admin")
    parts = {kind: f"/api/v1/{kind}s/{ids[f'{kind}_id']}/" for kind in ("dataset", "model", "endpoint", "job")}
    reads = [parts["dataset"], f"{parts['model']}versions/", parts["endpoint"], parts["job"]]
    assert [send(engineer, "get", path).status_code for path in reads] == [200] * 4
    version = f"/api/v1/versions/{ids['version_id']}/"
    with tenant_scope(tenant.id):
        Job.objects.filter(id=ids["job_id"]).update(submitted_by=engineer.id)
    calls: list[tuple[str, str, Any]] = [
        *[("post", f"{path}shares/", {"user": str(other.id)}) for path in parts.values()],
        *[("get", f"{path}shares/", None) for path in parts.values()],
        *[("delete", f"{path}shares/{engineer.id}/", None) for path in parts.values()],
        ("patch", parts["dataset"], {"restricted": True}), ("patch", parts["dataset"], {"project_id": None}),
        ("delete", parts["dataset"], None), ("delete", parts["endpoint"], None),
        ("post", f"{parts['endpoint']}keys/", {"name": "mine"}),
        ("delete", f"{parts['endpoint']}keys/{ids['endpoint_key_id']}/", None),
        ("post", f"{parts['job']}cancel/", {}), ("post", f"{parts['job']}pause/", {}),
        ("post", f"{version}promote/", {"stage": "archived"}),
        ("post", "/api/v1/endpoints/", {"name": "an-endpoint", "version": str(ids["version_id"])}),
    ]  # fmt: skip
    for method, path, body in calls:
        refused = send(engineer, method, path, body)
        assert refused.status_code == 403, (method, path, refused.content)
        assert refused.json()["code"] == "shared_only", (method, path)
        assert "Ask its creator" in refused.json()["title"]
    with tenant_scope(tenant.id):
        name = Dataset.objects.get(id=ids["dataset_id"]).name
    file = SimpleUploadedFile("more.csv", b"a,b\n1,2\n")
    more = client_of(engineer).post("/api/v1/datasets/", {"name": name, "target": "a", "file": file}, headers=IN_ROW)
    assert (more.status_code, more.json()["code"]) == (403, "shared_only")
    for kind in parts:
        shared = client_of(engineer).post(f"/t/lab/shares/{kind}/{ids[f'{kind}_id']}/", {"user": str(other.id)})
        assert shared.status_code in (403, 404), kind
    with tenant_scope(tenant.id):
        assert Endpoint.objects.get(id=ids["endpoint_id"]).undeployed_at is None
        assert EndpointKey.objects.filter(revoked_at=None).count() == 1
        assert ModelVersion.objects.get(id=ids["version_id"]).stage == "production"
    page = client_of(engineer).get(f"/t/lab/endpoints/{ids['endpoint_id']}/")
    assert (page.status_code, page.context["can_manage"], page.context["sharing"]) == (200, False, None)
    shown = client_of(engineer).get(f"/t/lab/datasets/{ids['dataset_id']}/")
    assert (shown.status_code, shown.context["can_share"], shown.context["can_create"]) == (200, False, False)
    assert send(admin, "post", f"{parts['endpoint']}shares/", {"user": str(other.id)}).status_code == 201


def test_a_role_in_the_project_lets_them_manage_what_is_shared_too(lab: Lab) -> None:
    tenant, ids, engineer = lab
    with tenant_scope(tenant.id):
        project = Project.objects.get().id
    owner = factories.actor_for(tenant)
    grants.give(actor=owner, holder=Holder(user_id=engineer.id), role="engineer", project_id=project)
    made = send(engineer, "post", f"/api/v1/endpoints/{ids['endpoint_id']}/keys/", {"name": "mine"})
    assert made.status_code == 201, made.content


def test_who_shares_a_restricted_dataset_is_its_creator_or_sees_all(lab: Lab) -> None:
    tenant, ids, engineer = lab
    other = factories.make_member(tenant, "engineer")
    with tenant_scope(tenant.id):
        Project.objects.update(restricted=False)
        Dataset.objects.update(restricted=True, project=None)
    path = f"/api/v1/datasets/{ids['dataset_id']}/"
    for method, where, body in (
        ("patch", path, {"restricted": False}),
        ("post", f"{path}shares/", {"user": str(other.id)}),
    ):
        assert send(engineer, method, where, body).json()["code"] == "shared_only"
    with tenant_scope(tenant.id):
        Dataset.objects.update(created_by=engineer.id)
    assert send(engineer, "post", f"{path}shares/", {"user": str(other.id)}).status_code == 201
    assert send(engineer, "patch", path, {"restricted": False}).status_code == 200


def test_sharing_a_model_needs_sight_of_each_version_that_it_opens(lab: Lab) -> None:
    tenant, ids, engineer = lab
    with tenant_scope(tenant.id):
        shares.unshare(
            actor=factories.actor_for(tenant), kind="model", object_id=ids["model_id"], holder_id=engineer.id
        )
        first = ModelVersion.objects.get(id=ids["version_id"])
        first.pk, first.job_id, first.number = UUID(int=9), UUID(int=8), 2
        first.project_id = factories.make_project(tenant).id
        first.save(force_insert=True)
    body = {"user": str(factories.make_member(tenant, "viewer").id)}
    assert send(engineer, "get", f"/api/v1/versions/{first.pk}/lineage/").status_code == 200
    refused = send(engineer, "post", f"/api/v1/models/{ids['model_id']}/shares/", body)
    assert (refused.status_code, refused.json()["code"]) == (403, "shared_only")


def guest_in(tenant: Tenant, project: Project) -> User:
    user = factories.make_member(tenant, "viewer")
    grants.give(
        actor=factories.actor_for(tenant), holder=Holder(user_id=user.id), role="engineer", project_id=project.id
    )
    with tenant_scope(tenant.id):
        Grant.objects.filter(membership__user=user, project=None).delete()
    return user


@pytest.mark.parametrize("who", ["guest", "key"])
def test_a_project_is_worked_in_with_open_datasets_of_the_organisation(who: str) -> None:
    tenant = factories.make_tenant("lab")
    order = launchable(tenant)
    owner = factories.make_member(tenant, "owner")
    with tenant_scope(tenant.id):
        project, other = Project.objects.get(), factories.make_project(tenant, "other")
    launched = send(owner, "post", "/api/v1/jobs/", order)
    assert launched.status_code == 201, launched.content
    there = send(owner, "post", "/api/v1/jobs/", order | {"project": "other", "name": "elsewhere"})
    scopes = ["jobs.view", "jobs.launch", "datasets.view", "projects.view", "recipes.view", "devices.view"]
    if who == "guest":
        reader: Client = client_of(guest_in(tenant, project))
    else:
        made = api_keys.create_api_key(
            actor=factories.actor_for(tenant), name="k", scopes=scopes, project_id=project.id
        )
        reader = Client(headers={"Authorization": f"Bearer {made.secret}"})

    def seen(path: str) -> list[str]:
        return [row["id"] for row in send(reader, "get", path).json()["results"]]

    assert launched.json()["id"] in seen("/api/v1/jobs/")
    assert seen("/api/v1/datasets/") == [str(_dataset(tenant))]
    assert send(reader, "get", f"/api/v1/jobs/{there.json()['id']}/").status_code == 404
    assert send(reader, "post", "/api/v1/quotes/", order).status_code == 201
    mine = send(reader, "post", "/api/v1/jobs/", order | {"name": "mine"})
    assert mine.status_code == 201, mine.content
    elsewhere = send(reader, "post", "/api/v1/jobs/", order | {"project": "other", "name": "x"})
    assert elsewhere.status_code in (400, 403)
    for fields in ({"restricted": True}, {"restricted": False, "project": other}):
        with tenant_scope(tenant.id):
            Dataset.objects.update(**fields)
        assert seen("/api/v1/datasets/") == []
        assert send(reader, "post", "/api/v1/quotes/", order).status_code == 400, "they keep not seeing it"
        assert launched.json()["id"] not in seen("/api/v1/jobs/")


def _dataset(tenant: Tenant) -> UUID:
    with tenant_scope(tenant.id):
        return Dataset.objects.get().id
