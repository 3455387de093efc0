"""Keys of service accounts, and keys that replace others: they open no more than their creators see, for no longer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from models_app.models import Dataset
from tenants import operations
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.clock import now
from tenants.errors import PermissionDenied
from tenants.grants import grants, service_accounts
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.identity.authentication import actor_today
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, Grant, Membership, Project, Role, ServiceAccount, Tenant, User
from tenants.sharing import shares
from tests.api.objects import one_of_everything
from tests.api.reading import client_of
from tests.conftest import DemoClock
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
KEEPER = sorted(ROLE_PERMISSIONS["viewer"] | {"apikeys.view", "apikeys.manage"})
READS = ["projects.view", "jobs.view"]


class Desk:
    """A tenant with a restricted project and a service account that reads everything and opens it."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.make_tenant("lab")
        self.owner = factories.actor_for(self.tenant)
        made = operations.create_project(actor=self.owner, slug="hush", name="Hush", restricted=True)
        self.project: Project = made
        self.account: ServiceAccount = service_accounts.create_service_account(actor=self.owner, name="nightly")
        holder = Holder(service_account_id=self.account.id)
        grants.give(actor=self.owner, holder=holder, role="viewer")
        self.inside = grants.give(actor=self.owner, holder=holder, role="engineer", project_id=made.id)

    def keeper(self, *, until: Any = None, permissions: list[str] = KEEPER) -> User:
        """Return a person who manages keys, without sight of the project."""
        user = factories.make_user()
        with tenant_scope(self.tenant.id):
            role = Role.objects.create(name=user.email.partition("@")[0], permissions=permissions)
            Grant.objects.create(membership=Membership.objects.create(user=user), role=role, expires_at=until)
        return user

    def actor(self, user: User) -> Any:
        with tenant_scope(self.tenant.id):
            return actor_today(self.tenant.id, user.id)

    def make(self, who: Any, scopes: list[str] = READS, **more: Any) -> Any:
        body = {"name": "robot", "scopes": scopes, "service_account_id": str(self.account.id), **more}
        return self.post(who, "/api/v1/api-keys/", body)

    def rotate(self, who: Any, key_id: Any, hours: int = 24) -> Any:
        return self.post(who, f"/api/v1/api-keys/{key_id}/rotate/", {"overlap_hours": hours})

    def post(self, who: Any, path: str, body: Any) -> Any:
        client = client_of(who) if isinstance(who, User) else with_key(who)
        headers = {"X-Exchequer-Tenant": "lab"} if isinstance(who, User) else {}
        return client.post(path, body, content_type="application/json", headers=headers)


def with_key(secret: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {secret}"})


def works(secret: str) -> bool:
    return bool(with_key(secret).get("/api/v1/me/").status_code == 200)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_service_accounts_key_opens_no_project_that_its_creator_does_not_see(desk: Desk) -> None:
    keeper = desk.keeper()
    refused = desk.make(keeper)
    assert refused.status_code == 403
    assert "restricted project that you do not see into" in refused.json()["title"]
    owned = api_keys.create_api_key(actor=desk.owner, name="k", scopes=READS, service_account_id=desk.account.id)
    assert desk.rotate(keeper, owned.id).status_code == 403, "nor by replacing one that does"
    mine = api_keys.create_api_key(actor=desk.owner, name="k", scopes=KEEPER)
    assert desk.make(mine.secret).status_code == 403, "a key without projects.view_restricted sees no more"
    with tenant_scope(desk.tenant.id):
        default = Project.objects.get(slug="default").id
        assert ApiKey.objects.filter(service_account=desk.account).count() == 1
    limited = desk.make(keeper, project_id=str(default))
    assert limited.status_code == 201, limited.content
    seen = with_key(limited.json()["key"]).get("/api/v1/projects/").json()["results"]
    assert [row["slug"] for row in seen] == ["default"]
    grants.give(actor=desk.owner, holder=Holder(user_id=keeper.id), role="viewer", project_id=desk.project.id)
    assert desk.make(keeper).status_code == 201
    operations.change_project(actor=desk.owner, project_id=desk.project.id, restricted=False)
    assert desk.make(desk.keeper()).status_code == 201


def test_a_key_made_under_rights_until_a_date_ends_with_them(desk: Desk, demo_clock: DemoClock) -> None:
    grants.withdraw(actor=desk.owner, grant_id=desk.inside.id)
    end = now() + timedelta(days=3)
    keeper = desk.keeper(until=end)
    late = (end + timedelta(days=1)).isoformat()
    for more in ({}, {"expires_at": late}):
        refused = desk.make(keeper, **more)
        assert (refused.status_code, "Your own rights end before that" in refused.json()["title"]) == (403, True)
    made = desk.make(keeper, expires_at=(end - timedelta(days=1)).isoformat())
    assert made.status_code == 201, made.content
    lasting = api_keys.create_api_key(actor=desk.owner, name="k", scopes=READS, service_account_id=desk.account.id)
    assert desk.rotate(keeper, lasting.id).status_code == 403, "nor does replacing one lengthen them"
    theirs = api_keys.create_api_key(actor=desk.actor(keeper), name="own", scopes=READS)
    assert works(made.json()["key"]) and works(theirs.secret)
    demo_clock.advance(timedelta(days=4))
    assert not works(made.json()["key"])
    assert works(lasting.secret)


def test_sight_until_a_date_opens_a_project_no_longer(desk: Desk) -> None:
    keeper, end = desk.keeper(), now() + timedelta(days=3)
    grants.give(
        actor=desk.owner, holder=Holder(user_id=keeper.id), role="viewer", project_id=desk.project.id, expires_at=end
    )
    refused = desk.make(keeper)
    assert (refused.status_code, "ends before that" in refused.json()["title"]) == (403, True)
    assert desk.make(keeper, expires_at=(end - timedelta(hours=1)).isoformat()).status_code == 201


def test_the_preview_of_a_leaver_names_keys_of_service_accounts_that_they_made(desk: Desk) -> None:
    grants.withdraw(actor=desk.owner, grant_id=desk.inside.id)
    keeper = desk.keeper()
    made = desk.make(keeper).json()
    other = api_keys.create_api_key(actor=desk.owner, name="theirs", scopes=READS, service_account_id=desk.account.id)
    rotated = desk.rotate(keeper, other.id).json()
    boss = client_of(factories.make_member(desk.tenant, "owner"))
    in_row = {"X-Exchequer-Tenant": "lab"}
    left = boss.get(f"/api/v1/members/{keeper.id}/departure/", headers=in_row).json()
    assert [row["id"] for row in left["known"]] == [made["id"], rotated["id"]]
    page = text_of(boss.get(f"/t/lab/members/?remove={keeper.id}"))
    assert "has seen their secrets" in page and "robot" in page and "theirs" in page
    ended = boss.delete(f"/api/v1/members/{keeper.id}/", headers=in_row)
    assert (ended.status_code, len(ended.json()["known"])) == (200, 2)
    assert works(made["key"]), "it continues, as the account's"


def test_a_key_replaces_itself_once_and_its_successor_takes_its_place(desk: Desk, demo_clock: DemoClock) -> None:
    scopes = ["apikeys.manage", "apikeys.view", "jobs.view"]
    parent = api_keys.create_api_key(actor=desk.owner, name="parent", scopes=scopes)
    old = desk.post(parent.secret, "/api/v1/api-keys/", {"name": "own", "scopes": scopes}).json()
    answer = desk.rotate(old["key"], old["id"], 1)
    assert answer.status_code == 201, answer.content
    new = answer.json()
    with tenant_scope(desk.tenant.id):
        before, after = (ApiKey.objects.get(id=UUID(one["id"])) for one in (old, new))
    same = ("parent_key_id", "membership_id", "service_account_id", "created_by", "created_by_id", "scopes")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert (after.parent_key_id, after.expires_at, before.replaced_by) == (parent.id, None, after.id)
    for who in (old["key"], new["key"], parent.secret):
        again = desk.rotate(who, old["id"])
        assert (again.status_code, again.json()["code"]) == (409, "key_replaced")
    demo_clock.advance(timedelta(hours=2))
    assert [works(one["key"]) for one in (old, new)] == [False, True]
    at_once = desk.rotate(new["key"], new["id"], 0)
    assert at_once.status_code == 201
    assert [works(one) for one in (new["key"], at_once.json()["key"])] == [False, True]


def test_a_key_with_an_end_replaces_itself_within_the_end_of_the_key_above(desk: Desk, demo_clock: DemoClock) -> None:
    scopes, start = ["apikeys.manage", "jobs.view"], now()
    above = api_keys.create_api_key(actor=desk.owner, name="a", scopes=scopes, expires_at=start + timedelta(days=12))
    below = {"name": "b", "scopes": scopes, "expires_at": (start + timedelta(days=10)).isoformat()}
    old = desk.post(above.secret, "/api/v1/api-keys/", below).json()
    free = api_keys.create_api_key(actor=desk.owner, name="f", scopes=scopes, expires_at=start + timedelta(days=10))
    demo_clock.advance(timedelta(days=9))
    made = [desk.rotate(old["key"], old["id"]), desk.rotate(free.secret, free.id)]
    assert [one.status_code for one in made] == [201, 201], [one.content for one in made]
    with tenant_scope(desk.tenant.id):
        ends = [ApiKey.objects.get(id=UUID(one.json()["id"])).expires_at for one in made]
    assert ends[0] == start + timedelta(days=12), "no credential outlives the key that it descends from"
    assert ends[1] is not None and ends[1] > start + timedelta(days=18), "it lives as long as the old one was made for"


def test_a_service_accounts_key_replaces_itself(desk: Desk) -> None:
    with tenant_scope(desk.tenant.id):
        role = Role.objects.create(name="Rotator", permissions=["apikeys.manage", "tenant.view"])
        Grant.objects.create(service_account=desk.account, role=role)
    made = desk.make(factories.make_member(desk.tenant, "owner"), ["apikeys.manage", "jobs.view"]).json()
    answer = desk.rotate(made["key"], made["id"])
    assert answer.status_code == 201, answer.content
    assert works(answer.json()["key"])


def test_who_replaces_a_members_key_answers_for_it_and_it_ends_with_that_member(desk: Desk) -> None:
    member = factories.make_member(desk.tenant, "admin")
    scopes = ["jobs.view", "members.manage", "members.view"]
    old = api_keys.create_api_key(actor=desk.actor(member), name="theirs", scopes=scopes)
    boss = factories.make_member(desk.tenant, "owner")
    made = desk.rotate(boss, old.id).json()
    with tenant_scope(desk.tenant.id):
        row = ApiKey.objects.get(id=UUID(made["id"]))
        members = dict(Membership.objects.values_list("user_id", "id"))
    assert (row.created_by_id, row.membership_id) == (boss.id, members[member.id])
    listed = client_of(boss).get("/api/v1/api-keys/", headers={"X-Exchequer-Tenant": "lab"}).json()["results"]
    (shown,) = [one for one in listed if one["id"] == made["id"]]
    assert shown["access"]["holder"] == member.email, "its rights are still those of the member"
    for user in (boss, member):  # it changes the rights of neither
        own = {"user_id": str(user.id), "role": "viewer", "project_id": str(desk.project.id)}
        assert desk.post(made["key"], "/api/v1/grants/", own).status_code in (403, 404)
    assert (
        client_of(boss).delete(f"/api/v1/members/{member.id}/", headers={"X-Exchequer-Tenant": "lab"}).status_code
        == 200
    )
    assert not works(made["key"])


@pytest.mark.parametrize("how", ["shared", "made"])
def test_nobody_replaces_a_key_that_sees_more_by_whose_it_is(how: str) -> None:
    tenant = factories.make_tenant("lab")
    ids, owner = one_of_everything(tenant), factories.actor_for(tenant)
    ann, keeper = factories.make_member(tenant, "admin"), factories.make_user()
    with tenant_scope(tenant.id):
        role = Role.objects.create(name="Keeper", permissions=KEEPER)
        Grant.objects.create(membership=Membership.objects.create(user=keeper), role=role)
        key = api_keys.create_api_key(actor=actor_today(tenant.id, ann.id), name="ann's", scopes=["datasets.view"])
        Dataset.objects.update(restricted=True, created_by=key.id if how == "made" else None)
        if how == "shared":
            shares.share(actor=owner, kind="dataset", object_id=ids["dataset_id"], user_id=ann.id)
    path, headers = f"/api/v1/datasets/{ids['dataset_id']}/", {"X-Exchequer-Tenant": "lab"}
    assert with_key(key.secret).get(path).status_code == 200
    assert client_of(keeper).get(path, headers=headers).status_code == 404

    def rotate(who: User, key_id: Any = key.id) -> Any:
        route = f"/api/v1/api-keys/{key_id}/rotate/"
        return client_of(who).post(route, {}, content_type="application/json", headers=headers)

    refused = rotate(keeper)
    assert (refused.status_code, "you do not see" in refused.json()["title"]) == (403, True), refused.content
    answer = rotate(factories.make_member(tenant, "owner"))
    assert answer.status_code == 201
    assert with_key(answer.json()["key"]).get(path).status_code == 200, "it still sees it for who sees it, too"
    assert rotate(keeper, answer.json()["id"]).status_code == 403, "nor its successor, which owns what it made"


def test_a_revoked_key_is_not_replaced(desk: Desk) -> None:
    key = api_keys.create_api_key(actor=desk.owner, name="lost", scopes=["jobs.view"])
    owner, headers = client_of(factories.make_member(desk.tenant, "owner")), {"X-Exchequer-Tenant": "lab"}
    path = f"/api/v1/api-keys/{key.id}/"
    assert owner.delete(path, headers=headers).status_code == 204
    answer = owner.post(f"{path}rotate/", {}, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_ended")


def test_who_manages_no_keys_is_refused_whatever_they_ask_for(desk: Desk) -> None:
    viewer = desk.actor(factories.make_member(desk.tenant, "viewer"))
    with pytest.raises(PermissionDenied):
        api_keys.create_api_key(actor=viewer, name="", scopes=[])
