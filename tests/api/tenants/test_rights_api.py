"""Rights by the API: roles, groups, service accounts, grants, and who may do what because of which."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tenants.isolation.scoping import tenant_scope
from tenants.models import Role
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> dict[str, Any]:
    tenant = factories.make_tenant()
    return {
        "tenant": tenant,
        "key": {"Authorization": f"Bearer {factories.make_api_key(tenant)}"},
        "nora": factories.make_member(tenant, "viewer", "nora@example.org"),
        "project": factories.make_project(tenant, "vision"),
    }


@pytest.fixture
def send(world: dict[str, Any]) -> Callable[..., Any]:
    """`send("POST", "roles/", {...})`: the status, and the body if there is one."""

    def call(method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        answer = Client().generic(
            method,
            f"/api/v1/{path}",
            "" if body is None else json.dumps(body),
            "application/json",
            headers=world["key"],
        )
        return answer.status_code, answer.json() if answer.content else None

    return call


def test_a_role_is_made_granted_in_a_project_and_works_there(world: dict[str, Any], send: Callable[..., Any]) -> None:
    status, role = send("POST", "roles/", {"name": "Launcher", "permissions": ["jobs.launch", "jobs.view"]})
    assert (status, role["permissions"], role["built_in"]) == (201, ["jobs.launch", "jobs.view", "tenant.view"], False)
    status, group = send("POST", "groups/", {"name": "Vision team"})
    assert (status, group["members"]) == (201, [])
    nora = str(world["nora"].id)
    assert send("POST", f"groups/{group['id']}/members/", {"user_id": nora})[0] == 204
    given = {"group_id": group["id"], "role_id": role["id"], "project_id": str(world["project"].id)}
    status, grant = send("POST", "grants/", given)
    assert (status, grant["holder"], grant["role"], grant["project_id"]) == (
        201, "Vision team", "Launcher", given["project_id"]
    )  # fmt: skip
    assert send("POST", "grants/", given)[1]["code"] == "already_granted"
    rows = [row for row in send("GET", "access/")[1]["results"] if row["holder"] == "nora@example.org"]
    assert [(row["role"], row["project"], row["group"]) for row in rows] == [
        ("viewer", "", ""), ("Launcher", "A project", "Vision team")
    ]  # fmt: skip
    assert rows[1]["permissions"] == ["jobs.launch", "jobs.view", "tenant.view"]
    there = Client()
    there.force_login(world["nora"])
    assert there.get("/api/v1/me/").json()["in_projects"] == {given["project_id"]: rows[1]["permissions"]}
    assert [row["id"] for row in send("GET", f"grants/?group_id={group['id']}")[1]["results"]] == [grant["id"]]
    assert send("GET", "grants/?group_id=nobody")[0] == 400
    assert send("PATCH", f"roles/{role['id']}/", {"description": "Launches"})[1]["description"] == "Launches"
    assert send("DELETE", f"roles/{role['id']}/")[1]["code"] == "role_in_use"
    assert send("DELETE", f"grants/{grant['id']}/")[0] == 204
    assert send("DELETE", f"roles/{role['id']}/")[0] == 204
    assert send("DELETE", f"groups/{group['id']}/members/{nora}/")[0] == 204
    assert send("DELETE", f"groups/{group['id']}/members/{nora}/")[0] == 404
    assert send("DELETE", f"groups/{group['id']}/")[0] == 204
    assert [row["name"] for row in send("GET", "roles/")[1]["results"]][:2] == ["owner", "admin"]


def test_a_role_that_is_none_says_what_to_change(send: Callable[..., Any]) -> None:
    for name, permissions, field, words in (
        ("a, b", ["jobs.view"], "name", "Leave out commas"),
        ("Re\u3164ader", ["jobs.view"], "name", "invisible characters"),
        ("Pilot", ["jobs.view", "jobs.fly"], "permissions", "Unknown: jobs.fly."),
        ("Nobody", [], "permissions", ""),
    ):
        status, refused = send("POST", "roles/", {"name": name, "permissions": permissions})
        assert (status, list(refused["fields"])) == (400, [field]), name
        assert words in refused["fields"][field][0], name


def test_the_log_says_what_changed_of_a_role_and_who_lost_what_with_a_group(
    world: dict[str, Any], send: Callable[..., Any]
) -> None:
    role = send("POST", "roles/", {"name": "Launcher", "permissions": ["jobs.view"]})[1]
    group = send("POST", "groups/", {"name": "Vision team"})[1]
    place = f"groups/{group['id']}/"
    assert send("POST", f"{place}members/", {"user_id": str(world["nora"].id)})[0] == 204
    for given in ({"role_id": role["id"], "project_id": str(world["project"].id)}, {"role": "viewer"}):
        assert send("POST", "grants/", {"group_id": group["id"], **given})[0] == 201
    assert send("PATCH", f"roles/{role['id']}/", {"name": "Launcher", "description": "Launches"})[0] == 200
    assert send("PATCH", f"roles/{role['id']}/", {"description": "Launches"})[0] == 200, "as it is"
    assert send("DELETE", place)[0] == 204
    entries = {row["action"]: row["changes"] for row in send("GET", "audit/?limit=20")[1]["results"]}
    assert entries["tenants.role.changed"] == {"description": ["", "Launches"]}
    assert entries["tenants.group.deleted"] == {
        "members": [["nora@example.org"], []],
        "grants": [["Launcher in vision", "viewer"], []],
    }


def test_a_role_with_a_permission_that_is_no_more_is_changed_by_who_has_the_others(world: dict[str, Any]) -> None:
    with tenant_scope(world["tenant"].id):
        role = Role.objects.create(name="Old", permissions=["jobs.fly", "jobs.view"])
    admin = Client()
    admin.force_login(factories.make_member(world["tenant"], "admin"))
    path = f"/api/v1/roles/{role.id}/"
    changed = admin.patch(path, {"description": "Reads"}, content_type="application/json")
    assert (changed.status_code, changed.json()["description"]) == (200, "Reads")
    assert admin.delete(path).status_code == 204


def test_a_service_account_has_rights_and_ends(send: Callable[..., Any]) -> None:
    status, account = send("POST", "service-accounts/", {"name": "nightly", "description": "Trains at night"})
    assert (status, account["keys"], account["disabled_at"]) == (201, 0, None)
    assert send("POST", "grants/", {"service_account_id": account["id"], "role": "engineer"})[0] == 201
    assert send("DELETE", f"service-accounts/{account['id']}/")[0] == 204
    assert send("GET", "service-accounts/")[1]["results"][0]["disabled_at"] is not None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "viewer"}, "holder"),
        ({"role": "king"}, "role"),
        ({}, "role"),
        ({"role": "viewer", "role_id": "00000000-0000-0000-0000-000000000000"}, "role"),
        ({"role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_a_grant_that_is_no_grant_says_what_to_name(
    world: dict[str, Any], send: Callable[..., Any], body: dict[str, Any], field: str
) -> None:
    holder = {} if field == "holder" else {"user_id": str(world["nora"].id)}
    status, answer = send("POST", "grants/", holder | body)
    assert (status, list(answer["fields"])) == (400, [field])
