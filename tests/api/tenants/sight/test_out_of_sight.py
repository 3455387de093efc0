"""People with wide permissions and no sight of a restricted project: they neither open it, change it, nor read its name."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.test import Client

from billing.budgets import alerts, budgets
from billing.budgets import requests as budget_requests
from billing.models import Budget
from models_app.models import ModelVersion
from tenants import operations
from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.approvals import access_requests, quota_requests
from tenants.clock import now
from tenants.grants import grants, groups, roles
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.identity.authentication import actor_today
from tenants.identity.providers import configuration
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, Grant, GroupMember, Membership, Notification, Project, Quota, Role, Tenant, User
from tenants.quotas import Scope
from tenants.quotas.limits import set_limit
from tests.api.objects import one_of_everything
from tests.api.reading import body_of, client_of
from tests.support import factories

pytestmark = pytest.mark.django_db
IN_ROW = {"X-Exchequer-Tenant": "lab"}
#: All that concerns people, projects, money and keys, and no sight of restricted projects or of all sums.
WIDE = [
    "tenant.view",
    "members.view",
    "members.manage",
    "projects.view",
    "projects.manage",
    "budgets.view",
    "budgets.manage",
    "quotas.view",
    "quotas.manage",
    "approvals.view",
    "approvals.request",
    "approvals.answer",
    "apikeys.view",
    "apikeys.manage",
    "audit.view",
    "audit.export",
]


class Lab:
    """A tenant with a restricted project; `desk` has WIDE and does not see into it, `finance` sees its sums."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.make_tenant("lab")
        self.owner = factories.actor_for(self.tenant)
        self.project = operations.create_project(
            actor=self.owner, slug="hush-project", name="Hush Works", restricted=True
        )
        self.desk = self.person(WIDE)
        self.viewer = factories.make_member(self.tenant, "viewer")

    def person(self, permissions: list[str]) -> User:
        user = factories.make_user()
        with tenant_scope(self.tenant.id):
            role = Role.objects.create(name=user.email.partition("@")[0], permissions=sorted(permissions))
            Grant.objects.create(membership=Membership.objects.create(user=user), role=role)
        return user

    def actor(self, user: User) -> Any:
        with tenant_scope(self.tenant.id):
            return actor_today(self.tenant.id, user.id)

    def ask(self, user: User | Client, method: str, path: str, body: Any = None) -> Any:
        client = user if isinstance(user, Client) else client_of(user)
        more = {} if body is None else {"data": body, "content_type": "application/json"}
        return getattr(client, method)(path, headers=IN_ROW, **more)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_project_out_of_sight_is_a_missing_one_for_whoever_manages_projects(lab: Lab) -> None:
    path = f"/api/v1/projects/{lab.project.id}/"
    secret = api_keys.create_api_key(actor=lab.owner, name="k", scopes=["projects.manage", "projects.view"]).secret
    for who in (lab.desk, Client(headers={"Authorization": f"Bearer {secret}"})):
        for body in ({"restricted": False}, {"name": "Mine"}, {"archived": True}, {"archived": False}):
            assert lab.ask(who, "patch", path, body).status_code == 404, body
    page = f"/t/lab/projects/{lab.project.id}/"
    for form in ("change", "archive"):
        assert client_of(lab.desk).post(f"{page}{form}/", {"name": "Mine"}).status_code == 404
    names = lab.person([*WIDE, "invoices.view"])  # names it, and its sums; sees nothing inside
    refused = lab.ask(names, "patch", path, {"restricted": False})
    assert (refused.status_code, "Ask an owner" in refused.json()["title"]) == (403, True)
    with tenant_scope(lab.tenant.id):
        kept = Project.objects.get(id=lab.project.id)
    assert (kept.name, kept.restricted, kept.archived_at) == ("Hush Works", True, None)
    assert (
        lab.ask(client_of(factories.make_member(lab.tenant, "admin")), "patch", path, {"name": "New"}).status_code
        == 200
    )


def test_who_restricts_a_project_may_see_into_it_no_more(lab: Lab) -> None:
    made = operations.create_project(actor=lab.owner, slug="open", name="Open")
    answer = lab.ask(lab.desk, "patch", f"/api/v1/projects/{made.id}/", {"restricted": True, "archived": True})
    assert (answer.status_code, answer.json()["restricted"], bool(answer.json()["archived_at"])) == (200, True, True)
    assert lab.ask(lab.desk, "get", f"/api/v1/projects/{made.id}/").status_code == 404


def test_nobody_opens_a_project_that_they_do_not_see_into(lab: Lab) -> None:
    group = groups.create_group(actor=lab.owner, name="Team")
    given = grants.give(actor=lab.owner, holder=Holder(group_id=group.id), role="viewer", project_id=lab.project.id)
    inside = factories.make_member(lab.tenant, "viewer")
    groups.add_member(actor=lab.owner, group_id=group.id, user_id=inside.id)
    desk = lab.person([*WIDE, *ROLE_PERMISSIONS["viewer"]])
    path = f"/api/v1/groups/{group.id}/"
    body = {"user_id": str(lab.viewer.id)}
    joined = lab.ask(desk, "post", f"{path}members/", body)
    assert (joined.status_code, "restricted project" in joined.json()["title"]) == (403, True)
    assert lab.ask(desk, "delete", f"{path}members/{inside.id}/").status_code == 403
    assert lab.ask(desk, "delete", path).status_code == 403
    page = client_of(desk).get(f"/t/lab/access/groups/{group.id}/")
    assert "restricted project" in body_of(page)
    assert "Hush" not in body_of(page)
    assert client_of(desk).post(f"/t/lab/access/groups/{group.id}/people/", body).status_code in (403, 422)
    for holder in ({"user_id": str(lab.viewer.id)}, {"group_id": str(group.id)}):
        give = holder | {"role": "viewer", "project_id": str(lab.project.id)}
        assert lab.ask(desk, "post", "/api/v1/grants/", give).status_code == 404
    assert lab.ask(desk, "delete", f"/api/v1/grants/{given.id}/").status_code == 404
    with tenant_scope(lab.tenant.id):
        assert list(GroupMember.objects.values_list("membership__user_id", flat=True)) == [inside.id]
        assert Grant.objects.filter(id=given.id).exists()
    assert lab.ask(lab.viewer, "get", f"/api/v1/projects/{lab.project.id}/").status_code == 404


def test_money_and_limits_of_a_project_out_of_sight_are_missing(lab: Lab) -> None:
    common = {"actor": lab.owner, "amount": Decimal(777), "at_limit": "notify"}
    budget = budgets.create_budget(project_id=lab.project.id, **common)
    path = f"/api/v1/budgets/{budget.id}/"
    calls: list[tuple[str, str, Any]] = [
        ("get", path, None), ("get", f"{path}alerts/", None), ("patch", path, {"alerts": [90]}), ("delete", path, None),
        ("patch", path, {"amount": "5"}), ("post", f"{path}requests/", {"amount": "900", "reason": "more"}),
    ]  # fmt: skip
    for method, where, body in calls:
        assert lab.ask(lab.desk, method, where, body).status_code == 404, (method, where)
    for page in ("change", "close", "request"):
        posted = client_of(lab.desk).post(f"/t/lab/budgets/{budget.id}/{page}/", {"amount": "5", "at_limit": "notify"})
        assert posted.status_code in (404, 405), page
    limit = {"resource": "devices:cpu", "limit": 3, "scope": f"project:{lab.project.id}"}
    assert lab.ask(lab.desk, "put", "/api/v1/quotas/", limit).status_code == 400
    with tenant_scope(lab.tenant.id):
        row = Budget.objects.get(id=budget.id)
    assert (row.amount, row.alerts, row.closed_at) == (777, [], None)
    finance = factories.make_member(lab.tenant, "finance")  # sees the sums of all projects, and limits them
    assert lab.ask(finance, "patch", path, {"amount": "800"}).status_code == 200


@pytest.mark.parametrize("kind", ["quota", "access", "budget"])
def test_a_request_about_a_project_out_of_sight_is_missing(lab: Lab, kind: str) -> None:
    inside = factories.make_member(lab.tenant, "engineer")
    grants.give(actor=lab.owner, holder=Holder(user_id=inside.id), role="viewer", project_id=lab.project.id)
    with tenant_scope(lab.tenant.id):
        row = asked(lab, kind, lab.actor(inside))
    client = client_of(lab.desk)
    for act in ("approve", "decline"):
        assert lab.ask(client, "post", f"/api/v1/approvals/{row.id}/{act}/", {"reason": "no"}).status_code == 404
        assert client.post(f"/t/lab/approvals/{row.id}/answer/", {"answer": act, "reason": "no"}).status_code == 404
    assert lab.ask(client, "get", "/api/v1/approvals/").json()["results"] == []
    with tenant_scope(lab.tenant.id):
        told = set(Notification.objects.filter(kind="approval.waits").values_list("user_id", flat=True))
        assert Approval.objects.get().state == "open"
    assert told, "those who may name it are notified"
    assert lab.desk.id not in told
    admin = factories.make_member(lab.tenant, "admin")
    assert lab.ask(admin, "post", f"/api/v1/approvals/{row.id}/decline/", {"reason": "no"}).status_code == 200


def asked(lab: Lab, kind: str, actor: Any) -> Approval:
    """Return a request about the restricted project."""
    if kind == "access":
        return access_requests.request(actor=actor, role="admin", reason="work", project_id=lab.project.id)
    if kind == "budget":
        made = budgets.create_budget(actor=lab.owner, project_id=lab.project.id, amount=Decimal(7), at_limit="notify")
        return budget_requests.request(actor=actor, budget_id=made.id, amount=Decimal(9), reason="more")
    Quota.objects.create(resource="devices:cpu", project_id=lab.project.id, limit=7)
    scope = Scope(project_id=lab.project.id)
    return quota_requests.request(actor=actor, resource="devices:cpu", limit=9, reason="more", scope=scope)


def test_the_name_of_a_project_out_of_sight_stands_in_no_list_and_no_entry(lab: Lab) -> None:
    made = budgets.create_budget(
        actor=lab.owner, project_id=lab.project.id, amount=Decimal("777.25"), at_limit="notify"
    )
    group = groups.create_group(actor=lab.owner, name="Team")
    inside = factories.make_member(lab.tenant, "viewer")
    for holder in (Holder(group_id=group.id), Holder(user_id=inside.id)):
        grants.give(actor=lab.owner, holder=holder, role="viewer", project_id=lab.project.id)
    groups.delete_group(actor=lab.owner, group_id=group.id)
    group = groups.create_group(actor=lab.owner, name="Chiefs")
    chief = roles.create_role(actor=lab.owner, name="Chief in charge", permissions=["jobs.view"])
    grants.give(actor=lab.owner, holder=Holder(group_id=group.id), role=chief.id, project_id=lab.project.id)
    groups.delete_group(actor=lab.owner, group_id=group.id)
    key = api_keys.create_api_key(actor=lab.owner, name="robot", scopes=["jobs.view"], project_id=lab.project.id)
    with tenant_scope(lab.tenant.id):
        scope = Scope(project_id=lab.project.id)
        set_limit(actor=lab.owner, resource="devices:cpu", limit=7, scope=scope)
        alerts.raise_alert(
            actor=Actor.system(lab.tenant.id, "billing"), budget_id=made.id, period=now().date().replace(day=1),
            percent=50, spent=Decimal(400), limit=Decimal("777.25"),
        )  # fmt: skip
    read = client_of(lab.desk)
    pages = (
        "/api/v1/api-keys/",
        "/api/v1/audit/?limit=200",
        "/api/v1/audit/export/",
        "/t/lab/api-keys/",
        "/t/lab/audit/",
    )
    words = ("Hush Works", "hush-project", "777.25")
    for path in (*pages, "/api/v1/notifications/", "/t/lab/notifications/"):
        text = body_of(read.get(path, headers=IN_ROW))
        assert [word for word in words if word in text] == [], path
    assert str(lab.project.id) not in body_of(read.get("/api/v1/api-keys/", headers=IN_ROW))
    entries = read.get("/api/v1/audit/?limit=200", headers=IN_ROW).json()["results"]
    told = {row["action"]: row["target_label"] for row in entries}
    assert told["tenants.project.created"] == told["billing.budget.created"] == "(not shared with you)", "they stay"
    (row,) = [
        one for one in read.get("/api/v1/api-keys/", headers=IN_ROW).json()["results"] if one["id"] == str(key.id)
    ]
    assert (row["project_id"], row["project_withheld"]) == (None, True)
    admin = client_of(factories.make_member(lab.tenant, "admin"))
    for path in pages:
        text = body_of(admin.get(path, headers=IN_ROW))
        assert "Hush Works" in text or str(lab.project.id) in text, path
    with tenant_scope(lab.tenant.id):
        assert not Notification.objects.filter(user=lab.desk).exists()
        assert Notification.objects.filter(title__contains="Hush Works").exists(), "owners are notified"


def test_no_provider_fills_a_group_that_opens_a_project_out_of_sight(lab: Lab) -> None:
    group = groups.create_group(actor=lab.owner, name="Team")
    grants.give(actor=lab.owner, holder=Holder(group_id=group.id), role="viewer", project_id=lab.project.id)
    wanted = configuration.Wanted(
        kind="oidc", name="idp", issuer="https://idp.example", client_id="x", highest_role="admin"
    )
    with tenant_scope(lab.tenant.id):
        configuration.save(actor=lab.owner, wanted=wanted)
    body = {"group_id": str(group.id), "claim": "people"}
    desk = lab.person([*WIDE, "identity.view", "identity.manage"])
    refused = lab.ask(desk, "post", "/api/v1/identity-provider/groups/", body)
    assert (refused.status_code, "restricted project" in refused.json()["title"]) == (403, True)
    owner = factories.make_member(lab.tenant, "owner")
    assert lab.ask(owner, "post", "/api/v1/identity-provider/groups/", body).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_requests_of_before_are_hidden_with_their_project(lab: Lab, superuser: psycopg.Connection) -> None:
    inside = factories.make_member(lab.tenant, "engineer")
    grants.give(actor=lab.owner, holder=Holder(user_id=inside.id), role="viewer", project_id=lab.project.id)
    with tenant_scope(lab.tenant.id):
        row = asked(lab, "access", lab.actor(inside))
        Approval.objects.filter(id=row.id).update(project_id=None)
    assert len(lab.ask(lab.desk, "get", "/api/v1/approvals/").json()["results"]) == 1
    superuser.execute(import_module("tenants.migrations.0038_requests_name_their_project").FILL)
    assert lab.ask(lab.desk, "get", "/api/v1/approvals/").json()["results"] == []


def test_who_does_not_see_a_version_is_not_notified_that_it_waits(lab: Lab) -> None:
    one_of_everything(lab.tenant)
    insider, engineer = (factories.make_member(lab.tenant, "engineer") for _ in range(2))
    desk = lab.person([*WIDE, "models.view", "models.approve"])
    admin = factories.make_member(lab.tenant, "admin")
    with tenant_scope(lab.tenant.id):
        ModelVersion.objects.update(stage="registered")
        version = ModelVersion.objects.get()
        Project.objects.filter(id=version.project_id).update(restricted=True)
    grants.give(actor=lab.owner, holder=Holder(user_id=insider.id), role="engineer", project_id=version.project_id)
    path = f"/api/v1/versions/{version.id}/promote/"
    assert lab.ask(engineer, "post", path, {"stage": "production"}).status_code == 404
    assert lab.ask(insider, "post", path, {"stage": "production"}).status_code == 202
    with tenant_scope(lab.tenant.id):
        told = set(Notification.objects.filter(kind="model.approval").values_list("user_id", flat=True))
    assert admin.id in told
    assert desk.id not in told


def test_rights_until_a_date_decide_nothing_about_a_provider(lab: Lab) -> None:
    body = {"kind": "oidc", "name": "idp", "issuer": "https://idp.example", "client_id": "x", "highest_role": "viewer"}
    boss = lab.person([*WIDE, *ROLE_PERMISSIONS["viewer"], "identity.view", "identity.manage"])
    with tenant_scope(lab.tenant.id):
        Grant.objects.filter(membership__user=boss).update(expires_at=now() + timedelta(hours=1))
    refused = lab.ask(boss, "put", "/api/v1/identity-provider/", body)
    assert (refused.status_code, "Your own rights end before that" in refused.json()["title"]) == (403, True)
    with tenant_scope(lab.tenant.id):
        Grant.objects.filter(membership__user=boss).update(expires_at=None)
    assert lab.ask(boss, "put", "/api/v1/identity-provider/", body).status_code == 200
