"""No right outlives its end: not by a role, an account, a key or somebody else's hands."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from models_app.endpoints import endpoint_keys
from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.clock import now
from tenants.errors import Invalid, PermissionDenied
from tenants.grants import expiry, grants, groups, roles, service_accounts
from tenants.grants.grants import Holder
from tenants.identity import api_keys, invitations, members
from tenants.identity.authentication import actor_today, note_use
from tenants.identity.creators import AccessEnded
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Grant, Group, GroupMember, Membership, Session, Tenant, User
from tenants.web import pagination
from tenants.web import views as web_views
from tests.support import factories
from tests.support.endpoints import make_endpoint
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db

ADMIN = sorted(ROLE_PERMISSIONS["admin"])
Control = Callable[[], AbstractContextManager[None]]


def as_now(tenant: Tenant, who: UUID) -> Actor:
    """Return a person or a key as the next request would see them."""
    with tenant_scope(tenant.id):
        return actor_today(tenant.id, who)


def until_soon(tenant: Tenant, role: str = "admin") -> tuple[Actor, User, Grant]:
    """Return the owner, a viewer with a role for an hour, and that grant."""
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    end = now() + timedelta(hours=1)
    return owner, user, grants.give(actor=owner, holder=Holder(user_id=user.id), role=role, expires_at=end)


def over(tenant: Tenant, grant: Grant) -> None:
    with tenant_scope(tenant.id):
        Grant.objects.filter(id=grant.id).update(expires_at=now() - timedelta(seconds=1))


def account_with(tenant: Tenant, **given: Any) -> UUID:
    owner = factories.actor_for(tenant)
    account = service_accounts.create_service_account(actor=owner, name=f"robot {now().timestamp()}")
    grants.give(actor=owner, holder=Holder(service_account_id=account.id), **{"role": "admin", **given})
    return account.id


def key_of(actor: Actor, account: UUID | None = None, scopes: list[str] | None = None, **more: Any) -> UUID:
    return api_keys.create_api_key(actor=actor, name="k", scopes=scopes or ADMIN, service_account_id=account, **more).id


def test_nobody_edits_a_role_that_they_hold() -> None:
    tenant = factories.make_tenant()
    owner, user, _ = until_soon(tenant)
    own, of_group = (
        roles.create_role(actor=owner, name=name, permissions=["jobs.view"]) for name in ("Own", "Group's")
    )
    grants.give(actor=owner, holder=Holder(user_id=user.id), role=own.id)
    group = groups.create_group(actor=owner, name="Team")
    groups.add_member(actor=owner, group_id=group.id, user_id=user.id)
    grants.give(actor=owner, holder=Holder(group_id=group.id), role=of_group.id)
    for role in (own, of_group):
        with pytest.raises(PermissionDenied, match="your own rights"):
            roles.change_role(actor=as_now(tenant, user.id), role_id=role.id, permissions=ADMIN)


def test_a_service_account_neither_extends_itself_nor_the_person_behind_its_key() -> None:
    tenant = factories.make_tenant()
    account = account_with(tenant, expires_at=now() + timedelta(hours=1))
    _, user, given = until_soon(tenant)
    key = as_now(tenant, key_of(as_now(tenant, user.id), account, expires_at=given.expires_at))
    with pytest.raises(PermissionDenied, match="your own rights"):
        grants.give(actor=key, holder=Holder(service_account_id=account), role="viewer")
    with pytest.raises(PermissionDenied, match="your own rights"):
        members.change_role(actor=key, user_id=user.id, role="viewer")
    with pytest.raises(PermissionDenied, match="your own rights"):
        members.remove_member(actor=key, user_id=user.id)


def test_nobody_gives_for_longer_than_they_have() -> None:
    tenant = factories.make_tenant()
    owner, user, given = until_soon(tenant)
    actor, other = as_now(tenant, user.id), factories.make_member(tenant, "viewer")
    strong, role = (
        groups.create_group(actor=owner, name="Strong"),
        roles.create_role(actor=owner, name="Reader", permissions=["jobs.view"]),
    )
    grants.give(actor=owner, holder=Holder(group_id=strong.id), role="engineer")
    grants.give(actor=owner, holder=Holder(user_id=other.id), role=role.id)
    attempts: list[Callable[[], object]] = [
        lambda: grants.give(actor=actor, holder=Holder(user_id=other.id), role="engineer"),
        lambda: members.change_role(actor=actor, user_id=other.id, role="engineer"),
        lambda: invitations.invite(actor=actor, email="second@example.org", role="engineer"),
        lambda: groups.add_member(actor=actor, group_id=strong.id, user_id=other.id),
        lambda: roles.change_role(actor=actor, role_id=role.id, permissions=["jobs.view", "jobs.launch"]),
    ]
    for attempt in attempts:
        with pytest.raises(PermissionDenied, match="Your own rights end before that"):
            attempt()
    end = given.expires_at
    assert grants.give(actor=actor, holder=Holder(user_id=other.id), role="engineer", expires_at=end).expires_at == end


@pytest.mark.parametrize("end", ["removed", "demoted", "expired"])
def test_a_key_of_an_account_ends_with_the_key_that_created_it(end: str, as_control: Control) -> None:
    tenant = factories.make_tenant()
    owner, account = factories.actor_for(tenant), account_with(tenant)
    until = None
    if end == "expired":
        _, user, given = until_soon(tenant)
        until = given.expires_at
    else:
        user = factories.make_member(tenant, "admin")
    first = key_of(as_now(tenant, user.id))
    second = key_of(as_now(tenant, first), account, expires_at=until)
    assert as_now(tenant, second).can("members.manage")
    if end == "removed":
        with tenant_scope(tenant.id):
            assert second in {one.id for one in members.departure(actor=owner, user_id=user.id).credentials}
        members.remove_member(actor=owner, user_id=user.id)
    elif end == "demoted":
        members.change_role(actor=owner, user_id=user.id, role="viewer")
    else:
        over(tenant, given)
        with as_control():
            assert expiry.end_expired() == 1
    assert not as_now(tenant, first).can("members.manage")
    assert not as_now(tenant, second).can("members.manage")


def test_what_a_key_created_for_another_account_ends_with_its_own() -> None:
    tenant = factories.make_tenant()
    one, other = account_with(tenant), account_with(tenant)
    key = key_of(factories.actor_for(tenant), one)
    second = key_of(as_now(tenant, key), other, ["jobs.view"])
    service_accounts.disable_service_account(actor=factories.actor_for(tenant), service_account_id=one)
    assert not as_now(tenant, second).can("jobs.view")


def test_more_rights_for_an_account_revoke_none_of_its_keys() -> None:
    tenant = factories.make_tenant()
    owner, account = factories.actor_for(tenant), account_with(tenant)
    key = key_of(as_now(tenant, key_of(owner)), account)
    grants.give(actor=owner, holder=Holder(service_account_id=account), role="finance")
    assert as_now(tenant, key).can("members.manage")


@pytest.mark.parametrize("maker", ["person", "key", "account"])
def test_credentials_end_with_the_grant_that_expired(maker: str, as_control: Control) -> None:
    tenant = factories.make_tenant()
    _, user, given = until_soon(tenant, "engineer")
    endpoint = make_endpoint(tenant)
    scopes = ["apikeys.manage", "endpoints.manage"]
    if maker == "key":
        grants.give(actor=factories.actor_for(tenant), holder=Holder(user_id=user.id), role="admin")
        who = key_of(as_now(tenant, user.id), scopes=scopes)
        with tenant_scope(tenant.id):
            given = Grant.objects.get(membership__user=user, built_in="admin")
            Grant.objects.filter(membership__user=user, built_in="engineer").delete()
    elif maker == "account":
        account = account_with(tenant)
        who = key_of(factories.actor_for(tenant), account, scopes)
        with tenant_scope(tenant.id):
            given = Grant.objects.get(service_account_id=account)
    else:
        who = user.id
    made = [endpoint_keys.create(actor=as_now(tenant, who), endpoint_id=endpoint.id, name="mine")]
    made.append(endpoint_keys.create(actor=factories.actor_for(tenant), endpoint_id=endpoint.id, name="another's"))
    hashes = [endpoint_keys.key_hash(one.secret) for one in made]
    assert {one.id for one in endpoint_keys.known(hashes)} == {one.id for one in made}
    over(tenant, given)
    assert [one.id for one in endpoint_keys.known(hashes)] == [made[1].id], "at its next use, before any sweep"
    with as_control():
        assert expiry.end_expired() == 1
        assert expiry.end_expired() == 0
    assert [one.id for one in endpoint_keys.known(hashes)] == [made[1].id]
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.grant.expired", actor_type="system").count() == 1


def test_an_organisation_whose_owner_cannot_log_in_still_changes_other_people() -> None:
    tenant = factories.make_tenant()
    admin, viewer = factories.make_member(tenant, "admin"), factories.make_member(tenant, "viewer")
    actor = as_now(tenant, admin.id)
    with tenant_scope(tenant.id):
        owners = list(Membership.objects.filter(grants__built_in="owner").values_list("user_id", flat=True))
    User.objects.filter(id__in=owners).update(is_active=False)
    members.change_role(actor=actor, user_id=viewer.id, role="engineer")
    assert as_now(tenant, viewer.id).role == "engineer"
    members.remove_member(actor=actor, user_id=viewer.id)
    assert as_now(tenant, viewer.id).permissions == frozenset()


def test_a_large_group_changes_in_few_statements() -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        people = User.objects.bulk_create(User(email=f"u{n}@many.example") for n in range(300))
        rows = Membership.objects.bulk_create(Membership(user=one) for one in people)
        Grant.objects.bulk_create(Grant(membership=one, built_in="viewer") for one in rows)
        group = Group.objects.create(name="All")
        GroupMember.objects.bulk_create(GroupMember(group=group, membership=one) for one in rows)
    with CaptureQueriesContext(connection) as asked:
        grants.give(actor=owner, holder=Holder(group_id=group.id), role="engineer")
    assert len(asked) < 60, len(asked)


def test_a_groups_page_asks_as_often_however_many_people_have_keys_and_shows_them_by_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant = factories.make_tenant("lab")
    owner = factories.actor_for(tenant)
    group = groups.create_group(actor=owner, name="Team")
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="admin")
    client = Client(headers={"X-Exchequer-Tenant": "lab"})
    client.force_login(factories.make_member(tenant, "owner", "olga@example.org"))
    page = f"/t/lab/access/groups/{group.id}/"

    def add(*names: str) -> None:
        for name in names:
            user = factories.make_member(tenant, "viewer", f"{name}@example.org")
            groups.add_member(actor=owner, group_id=group.id, user_id=user.id)
            api_keys.create_api_key(actor=as_now(tenant, user.id), name=f"by {name}", scopes=["jobs.launch"])

    def asked() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as captured:
            shown = text_of(client.get(page))
        return len(captured), shown

    add("ann", "ben")
    asked()
    before, shown = asked()
    assert shown.count("loses for ever the API key by ann") == 2, "on its dialog, and on that of the group"
    add("cem", "dan", "eva")
    assert asked()[0] == before

    monkeypatch.setattr(pagination, "MOST_LINES", 2)
    seen, following = [], "?"
    while following:
        shown = text_of(client.get(page + following))
        seen += re.findall(r'aria-label="Remove ([a-z]+)@', shown)
        assert "5 people are in it" in shown
        following = unescape("".join(re.findall(r'href="([^"]*)" rel="next"', shown)))
    assert seen == ["ann", "ben", "cem", "dan", "eva"]
    for path in ("access/groups/", "members/", "projects/", "api-keys/", "access/service-accounts/"):
        assert (client.get(f"/t/lab/{path}?cursor=WyIyIl0").status_code, "Next page" in text_of(client.get(f"/t/lab/{path}"))) == (
            200, path in ("members/", "api-keys/"),
        ), path  # fmt: skip

    monkeypatch.setattr(web_views, "MAX_WHOLE", 2)
    url, emails = "/api/v1/members/", []
    while url:
        answer = client.get(url).json()
        emails += [row["email"] for row in answer["results"]]
        assert len(answer["results"]) <= 2
        url = answer["next"]
    assert len(emails) == len(set(emails)) >= 6


def test_an_actor_whose_rights_ended_meanwhile_changes_nothing() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "admin")
    stale, group = as_now(tenant, user.id), groups.create_group(actor=owner, name="Team")
    role, account = roles.create_role(actor=owner, name="R", permissions=["jobs.view"]), account_with(tenant)
    members.change_role(actor=owner, user_id=user.id, role="viewer")
    attempts: list[Callable[[], object]] = [
        lambda: roles.create_role(actor=stale, name="More", permissions=["jobs.view"]),
        lambda: roles.delete_role(actor=stale, role_id=role.id),
        lambda: groups.create_group(actor=stale, name="Another"),
        lambda: groups.delete_group(actor=stale, group_id=group.id),
        lambda: service_accounts.create_service_account(actor=stale, name="a"),
        lambda: service_accounts.disable_service_account(actor=stale, service_account_id=account),
    ]
    for attempt in attempts:
        with pytest.raises(AccessEnded):
            attempt()


@pytest.mark.parametrize("name", ["owner, admin", "\u03bfwner", "system", "Key", "none", "a\u200bb"])
def test_a_role_has_no_name_that_reads_as_another(name: str) -> None:
    with pytest.raises(Invalid):
        roles.create_role(actor=factories.actor_for(factories.make_tenant()), name=name, permissions=["jobs.view"])


@pytest.mark.django_db(transaction=True)
def test_the_use_of_a_key_that_an_operation_holds_is_noted_another_time() -> None:
    tenant = factories.make_tenant()
    key = api_keys.create_api_key(actor=factories.actor_for(tenant), name="k", scopes=["tenant.view"]).id
    actor = as_now(tenant, key)
    holder = connection.copy()
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant.id)])
            cursor.execute("SELECT FROM tenants_apikey WHERE id = %s FOR SHARE", [key])
        note_use(actor)  # neither waits nor fails
    finally:
        holder.close()
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get(id=key).last_used_at is None


def test_who_joins_is_logged_in_and_a_new_password_ends_other_sessions() -> None:
    tenant = factories.make_tenant()
    made = invitations.invite(actor=factories.actor_for(tenant), email="new@example.org", role="viewer")
    client = Client(headers={"User-Agent": "Home"}, REMOTE_ADDR="192.0.2.9")
    form = {"name": "N", "password": "a long walk at night"}
    assert client.post(f"/accounts/invitation/{invitations.token_of(made.id)}/", form).status_code == 302
    user = User.objects.get(email="new@example.org")
    assert [(row.ip, row.user_agent) for row in Session.objects.filter(user_id=user.id)] == [("192.0.2.9", "Home")]
    assert client.get(f"/t/{tenant.slug}/").status_code == 200
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.session.started", actor_id=user.id).count() == 1
    other, new = Client(), "another long walk"
    other.force_login(user)
    form = {"oldpassword": "a long walk at night", "password1": new, "password2": new}
    assert client.post("/accounts/password/change/", form).status_code == 302
    assert client.get("/api/v1/me/").status_code == 200
    assert other.get("/api/v1/me/").status_code == 401
    assert Session.objects.filter(user_id=user.id).count() == 1
