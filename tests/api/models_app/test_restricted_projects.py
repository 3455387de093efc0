"""A restricted project, requested in every way by those who see into it and by those who do not."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from billing.budgets import budgets
from billing.metering.metering import record_usage
from compute.jobs import jobs as work
from compute.models import Job, JobLog, JobMetric
from models_app.models import Dataset, DatasetVersion
from tenants import operations
from tenants.clock import now
from tenants.errors import Invalid
from tenants.grants import grants
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Project, Quota, Tenant, User
from tenants.sharing import shares
from tests.api.objects import launchable, one_of_everything
from tests.api.reading import client_of, read
from tests.support import factories
from tests.support.usage import interval

pytestmark = pytest.mark.django_db

Lab = tuple[Tenant, dict[str, Any], dict[str, User]]
HASH = "abcd" * 16
NAMES = ("hush-project", "Hush Works")
INSIDE = ("hush-run", "hush-data", "hush-line", "hush-tag", "a model v1", "an-endpoint", HASH, "0.8125")
WORDS = (*NAMES, *INSIDE)
IN_ROW = {"X-Exchequer-Tenant": "lab"}


@pytest.fixture
def lab() -> Lab:
    """Return a tenant whose only job, dataset, model, endpoint, budget and use are in a restricted project."""
    tenant = factories.make_tenant("lab")
    ids = one_of_everything(tenant)
    people = {role: factories.make_member(tenant, role) for role in ("admin", "finance", "auditor", "viewer")}
    people |= {name: factories.make_member(tenant, "engineer") for name in ("insider", "other")}
    people["guest"] = factories.make_member(tenant, "viewer")
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        Project.objects.update(slug="hush-project", name="Hush Works", restricted=True)
        project = Project.objects.get()
    operations.create_project(actor=owner, slug="default", name="Default")
    for name, role in (("insider", "viewer"), ("guest", "engineer")):
        grants.give(actor=owner, holder=Holder(user_id=people[name].id), role=role, project_id=project.id)
    with tenant_scope(tenant.id):
        Grant.objects.filter(membership__user=people["guest"], project=None).delete()
        Job.objects.update(name="hush-run", tags={"team": "hush-tag"})
        Dataset.objects.update(name="hush-data", project=project)
        DatasetVersion.objects.update(sha256=HASH)
        JobLog.objects.create(job_id=ids["job_id"], position=1, token=1, line="hush-line")
        JobMetric.objects.create(job_id=ids["job_id"], step=1, token=1, values={"accuracy": 0.8125})
        Quota.objects.create(resource="devices:cpu", project_id=project.id, limit=7)
        budgets.create_budget(actor=owner, project_id=project.id, amount=Decimal(777), at_limit="notify")
        usage = interval(
            project.id,
            now() - timedelta(seconds=60),
            30,
            resource=f"job:{ids['job_id']}",
            job_id=ids["job_id"],
            dims={"device_class": "cpu", "tier": "on_demand", "tag:team": "hush-tag", "tag:hush-run": "x"},
        )
        record_usage([usage])
        work.note_log_download(actor=owner, job_id=ids["job_id"])
    return tenant, ids | {"tenant_id": tenant.id, "project_id": project.id}, people


def words_of(found: dict[str, tuple[int, list[str]]]) -> set[str]:
    return {word for _, words in found.values() for word in words}


@pytest.mark.parametrize("who", ["other", pytest.param("viewer", marks=pytest.mark.nightly)])
def test_a_restricted_project_hides_all_that_is_in_it(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids, WORDS)
    assert {path: words for path, (_, words) in found.items() if words} == {}
    assert {status for status, _ in found.values()} <= {200, 302, 400, 403, 404, 405, 422}
    assert [status for status, _ in found.values()].count(200) > 20, "lists are there, without it"


@pytest.mark.parametrize("who", ["finance", "auditor"])
def test_those_who_settle_the_money_see_its_name_and_sums_and_nothing_inside(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids, WORDS)
    inside = set(INSIDE) - {"hush-tag"}  # by tags, too, is money divided
    assert {path: words for path, (_, words) in found.items() if set(words) & inside} == {}
    assert set(NAMES) <= words_of(found)
    spend = client_of(people[who]).get("/api/v1/spend/?group_by=project", headers=IN_ROW).json()["results"]
    assert str(ids["project_id"]) in json.dumps(spend)


@pytest.mark.parametrize("who", ["insider", "guest", pytest.param("admin", marks=pytest.mark.nightly)])
def test_those_with_a_role_in_it_see_all_that_is_in_it(lab: Lab, who: str) -> None:
    _, ids, people = lab
    found = read(people[who], ids, WORDS)
    # Whose only role is in a project sees no sums, no audit log, and no job's tags in them.
    assert words_of(found) >= set(WORDS) - ({"hush-tag"} if who == "guest" else set())
    assert found[f"/api/v1/jobs/{ids['job_id']}/"][0] == 200


def test_the_sum_of_hidden_projects_is_one_row_without_a_name(lab: Lab) -> None:
    _, ids, people = lab
    client = client_of(people["other"])
    seen = client.get("/api/v1/spend/?group_by=project,job", headers=IN_ROW).json()["results"]
    assert [(row["project"], row["job"]) for row in seen if row["job"]] == [("not shared with you",) * 2]
    inside = client.get(f"/api/v1/spend/?project={ids['project_id']}", headers=IN_ROW).json()["results"]
    assert [row for row in inside if Decimal(row["cost"]["amount"])] == []


def test_the_id_of_a_hidden_job_filters_as_an_id_of_nothing(lab: Lab) -> None:
    _, ids, people = lab
    none = "00000000-0000-0000-0000-000000000000"

    def sums(who: str, path: str, job: Any) -> Any:
        return client_of(people[who]).get(f"/api/v1/{path}/?job={job}", headers=IN_ROW).json()["results"]

    for path in ("spend", "usage"):
        assert sums("other", path, ids["job_id"]) == sums("other", path, none) == [], path
        assert sums("finance", path, ids["job_id"]), "all sums are theirs to see"
        assert sums("insider", path, ids["job_id"])


def test_a_guest_sees_nothing_but_the_project(lab: Lab) -> None:
    tenant, ids, people = lab
    with tenant_scope(tenant.id):
        Project.objects.update(restricted=False)
        Grant.objects.filter(membership__user=people["guest"]).update(project=Project.objects.get(slug="default"))
    found = read(people["guest"], ids, INSIDE)
    assert {path: words for path, (_, words) in found.items() if words} == {}
    names = client_of(people["guest"]).get("/api/v1/projects/", headers=IN_ROW).json()["results"]
    assert [row["slug"] for row in names] == ["default"]


def test_nothing_starts_in_a_project_that_one_does_not_see(lab: Lab) -> None:
    tenant, ids, people = lab
    with tenant_scope(tenant.id):
        Dataset.objects.update(project=None)
    none = "00000000-0000-0000-0000-000000000000"
    job = {"name": "x", "kind": "train", "recipe": "tabular.classifier", "dataset": str(ids["dataset_id"])}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("post", "/api/v1/jobs/", {**job, "project": "PROJECT"}),
        ("post", "/api/v1/quotes/", {**job, "project": "PROJECT"}),
        ("patch", f"/api/v1/datasets/{ids['dataset_id']}/", {"project_id": "PROJECT"}),
        ("get", "/api/v1/projects/PROJECT/", {}),
        (
            "post",
            "/api/v1/quotas/requests/",
            {"resource": "devices:cpu", "limit": 9, "reason": "r", "scope": "project:PROJECT"},
        ),
        (
            "post",
            "/api/v1/access/requests/",
            {"role": "viewer", "project_id": "PROJECT", "reason": "r"},
        ),
    ]
    by_name = {path for _, path, body in calls if body and "project_id" not in body}
    client = client_of(people["other"])
    for method, path, body in calls:
        told = []
        names = [str(ids["project_id"]), none, *(("hush-project", "no-project") if path in by_name else ())]
        for project in names:
            sent = json.dumps(body).replace("PROJECT", project)
            answer = getattr(client, method)(
                path.replace("PROJECT", project), headers=IN_ROW,
                **({"data": sent, "content_type": "application/json"} if body else {}),
            )  # fmt: skip
            fields = answer.json().get("fields", {})
            told.append((answer.status_code, answer.json()["code"], fields.get("project") or fields.get("scope")))
        assert len({repr(one) for one in told}) == 1, (path, told)
        assert told[0][0] in (400, 404), path


def test_an_archived_project_starts_nothing_and_keeps_what_it_has() -> None:
    tenant = factories.make_tenant("lab")
    order = launchable(tenant)
    owner = factories.actor_for(tenant)
    project = operations.create_project(actor=owner, slug="old", name="Old")
    client = client_of(factories.make_member(tenant, "owner"))
    send: dict[str, Any] = {"content_type": "application/json", "headers": IN_ROW}
    first = client.post("/api/v1/jobs/", json.dumps(order | {"project": "old"}), **send)
    assert first.status_code == 201, first.content
    assert client.patch(f"/api/v1/projects/{project.id}/", json.dumps({"archived": True}), **send).status_code == 200
    refused = client.post("/api/v1/jobs/", json.dumps(order | {"project": "old", "name": "again"}), **send)
    assert refused.status_code == 400
    assert refused.json()["fields"]["project"] == ["This project is archived. Choose another one, or restore it."]
    assert client.get(f"/api/v1/jobs/{first.json()['id']}/", headers=IN_ROW).status_code == 200
    assert "old" not in [slug for slug, _ in client.get("/t/lab/jobs/new/").context["form"].fields["project"].choices]
    client.patch(f"/api/v1/projects/{project.id}/", json.dumps({"archived": False}), **send)
    assert client.post("/api/v1/jobs/", json.dumps(order | {"project": "old"}), **send).status_code == 201
    default = factories.default_project_id(tenant)
    kept = client.patch(f"/api/v1/projects/{default}/", json.dumps({"archived": True}), **send)
    assert kept.status_code == 409


PARTS = {"dataset": "datasets", "model": "models", "endpoint": "endpoints", "job": "jobs"}


@pytest.mark.parametrize("by", ["person", "group"])
def test_a_share_opens_one_object_to_a_person_or_a_group_and_ends(lab: Lab, by: str) -> None:
    tenant, ids, people = lab
    owner = client_of(factories.make_member(tenant, "owner"))
    reader = client_of(people["other"])
    holder = people["other"].id
    if by == "group":
        path, holder = f"/api/v1/groups/{ids['group_id']}/members/", ids["group_id"]
        sent = {"user_id": str(people["other"].id)}
        assert owner.post(path, sent, content_type="application/json", headers=IN_ROW).status_code == 204
    pages = {kind: f"/api/v1/{part}/{ids[f'{kind}_id']}/" for kind, part in PARTS.items()}
    pages["model"] += "versions/"

    def seen() -> dict[str, int]:
        return {kind: reader.get(page, headers=IN_ROW).status_code for kind, page in pages.items()}

    for kind, part in PARTS.items():
        assert set(seen().values()) == {404}
        path = f"/api/v1/{part}/{ids[f'{kind}_id']}/shares/"
        body = {"group" if by == "group" else "user": str(holder)}
        made = owner.post(path, body, content_type="application/json", headers=IN_ROW)
        assert made.status_code == 201, made.content
        rows = owner.get(path, headers=IN_ROW).json()["results"]
        assert [row["user"] or row["group"] for row in rows] == [str(holder)]
        assert seen() == {**dict.fromkeys(PARTS, 404), kind: 200}, "it opens this object alone"
        listed = reader.get(f"/api/v1/{part}/", headers=IN_ROW).json()["results"]
        assert [row["id"] for row in listed] == [str(ids[f"{kind}_id"])]
        assert owner.delete(f"{path}{holder}/", headers=IN_ROW).status_code == 204
    assert set(seen().values()) == {404}


def test_only_who_sees_an_object_and_may_share_it_does(lab: Lab) -> None:
    tenant, ids, people = lab
    body = {"user": str(people["other"].id)}
    for who, status in (("other", 404), ("viewer", 403), ("insider", 201), ("guest", 201)):
        path = f"/api/v1/jobs/{ids['job_id']}/shares/"
        answer = client_of(people[who]).post(path, body, content_type="application/json", headers=IN_ROW)
        assert answer.status_code == status, who
    foreign = factories.make_member(factories.make_tenant("theirs"), "engineer")
    asked = client_of(people["admin"]).post(
        path, {"user": str(foreign.id)}, content_type="application/json", headers=IN_ROW
    )
    assert asked.status_code == 404
    both = {"user": str(people["other"].id), "group": str(ids["group_id"])}
    for wrong in ({}, both):
        asked = client_of(people["admin"]).post(path, wrong, content_type="application/json", headers=IN_ROW)
        assert asked.status_code == 400
    with tenant_scope(tenant.id):
        assert len(shares.shares_of("job", ids["job_id"])) == 1


def test_a_key_that_is_limited_to_a_project_sees_and_starts_nothing_elsewhere(lab: Lab) -> None:
    tenant, ids, _ = lab
    owner = factories.actor_for(tenant)
    scopes = [
        "jobs.view",
        "datasets.view",
        "models.view",
        "endpoints.view",
        "projects.view",
        "jobs.launch",
    ]
    with tenant_scope(tenant.id):
        default = Project.objects.get(slug="default").id

    def with_key(project_id: UUID | None) -> Client:
        made = api_keys.create_api_key(actor=owner, name="k", scopes=scopes, project_id=project_id)
        return Client(headers={"Authorization": f"Bearer {made.secret}"})

    inside, outside = with_key(ids["project_id"]), with_key(default)
    for path in ("jobs", "datasets", "models", "endpoints", "projects"):
        rows = [len(client.get(f"/api/v1/{path}/").json()["results"]) for client in (inside, outside)]
        assert rows == [1, 1 if path == "projects" else 0], path
    assert inside.get("/api/v1/spend/").status_code == 403
    with pytest.raises(Invalid, match=r"spend\.view"):  # sums are the organisation's
        api_keys.create_api_key(actor=owner, name="k", scopes=["spend.view"], project_id=default)
    order = {"name": "x", "kind": "train", "recipe": "tabular.classifier", "dataset": str(ids["dataset_id"])}
    refused = inside.post("/api/v1/jobs/", order | {"project": "default"}, content_type="application/json")
    assert refused.status_code in (400, 403)
    listed = client_of(factories.make_member(tenant, "owner")).get("/api/v1/api-keys/", headers=IN_ROW).json()
    assert {row["project_id"] for row in listed["results"]} == {None, str(ids["project_id"]), str(default)}
