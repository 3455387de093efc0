"""Pages of rights by HTTP: every form with good and bad input, what is offered, and what is refused in which words."""

import csv
import re
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS, ROLE_PERMISSIONS
from tenants.clock import now
from tenants.grants import grants, groups, queries, roles, service_accounts
from tenants.grants.grants import Holder
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Grant, Group, Role, ServiceAccount, Tenant, User
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db

GOOD = {"role": "engineer", "project": "whole", "expires_at": ""}


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("lab")


def logged_in(tenant: Tenant, role: str = "owner") -> tuple[Client, User]:
    client, user = Client(), factories.make_member(tenant, role)
    client.force_login(user)
    return client, user


def page(client: Client, path: str = "", status: int = 200) -> str:
    answer = client.get(f"/t/lab/access/{path}")
    assert answer.status_code == status, path
    return text_of(answer)


def roles_of(tenant: Tenant, user: User) -> list[tuple[str, str]]:
    with tenant_scope(tenant.id):
        return [(row.role, row.project) for row in queries.access_of(user.id)]


def person_with(tenant: Tenant, permissions: set[str]) -> tuple[Client, User]:
    """Return a viewer who also holds a role of the organisation's own with these permissions."""
    client, user = logged_in(tenant, "viewer")
    owner = factories.actor_for(tenant)
    role = roles.create_role(actor=owner, name="Helper", permissions=sorted(permissions))
    grants.give(actor=owner, holder=Holder(user_id=user.id), role=role.id)
    return client, user


def test_a_grant_is_given_in_one_project_until_a_day_and_withdrawn_after_what_is_lost_was_shown(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    nora, project = factories.make_member(tenant, "viewer", "nora@example.org"), factories.make_project(tenant)
    day = (now() + timedelta(days=3)).date()
    form = GOOD | {"holder": f"user:{nora.id}", "project": str(project.id), "expires_at": day.isoformat()}
    assert client.post("/t/lab/access/grants/new/", form).status_code == 302
    assert roles_of(tenant, nora) == [("viewer", ""), ("engineer", "A project")]
    with tenant_scope(tenant.id):
        grant = Grant.objects.get(project=project)
        assert grant.expires_at is not None
        assert grant.expires_at.date() == day + timedelta(days=1), "the last day is included"
        assert AuditEntry.objects.filter(action="tenants.grant.given").count() == 1
    asked = page(client, f"?withdraw={grant.id}")
    assert "Withdraw a grant of nora@example.org?" in asked
    assert "loses in A project: Launch jobs" in asked
    assert client.post(f"/t/lab/access/grants/{grant.id}/withdraw/").status_code == 302
    assert roles_of(tenant, nora) == [("viewer", "")]
    assert client.post(f"/t/lab/access/grants/{grant.id}/withdraw/").status_code == 404
    assert "Grant given" in text_of(client.get("/t/lab/audit/"))


def test_a_right_that_another_grant_gives_too_is_not_named_as_lost(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    nora, project = factories.make_member(tenant, "engineer", "nora@example.org"), factories.make_project(tenant)
    owner = factories.actor_for(tenant)
    group = groups.create_group(actor=owner, name="Team")
    groups.add_member(actor=owner, group_id=group.id, user_id=nora.id)
    grant = grants.give(actor=owner, holder=Holder(group_id=group.id), role="engineer", project_id=project.id)
    assert "keeps all rights, by other grants" in page(client, f"?withdraw={grant.id}")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"holder": ""}, "This field is required"),
        ({"holder": f"user:{UUID(int=7)}"}, "Select a valid choice"),
        ({"role": "emperor"}, "Select a valid choice"),
        ({"role": ""}, "This field is required"),
        ({"project": str(UUID(int=7))}, "Select a valid choice"),
        ({"expires_at": "tomorrow"}, "Enter a valid date"),
        ({"expires_at": "2020-01-01"}, "Choose a time in the future"),
        ({"expires_at": "9999-12-31"}, "Give a day from"),
        ({"role": "owner", "project": "default"}, "Only a person is an owner"),
        ({"role": "viewer"}, "This holder has this role there already"),
    ],
)
def test_a_grant_with_bad_input_is_refused_on_the_form_with_its_words(
    tenant: Tenant, wrong: dict[str, str], words: str
) -> None:
    client, _ = logged_in(tenant)
    nora = factories.make_member(tenant, "viewer")
    if wrong.get("project") == "default":
        wrong = wrong | {"project": str(factories.default_project_id(tenant))}
    answer = client.post("/t/lab/access/grants/new/", GOOD | {"holder": f"user:{nora.id}"} | wrong)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert roles_of(tenant, nora) == [("viewer", "")]


def test_what_one_may_not_give_or_withdraw_is_not_offered_and_refused_in_words(tenant: Tenant) -> None:
    client, helper = person_with(tenant, {"members.manage", *ROLE_PERMISSIONS["engineer"]})
    owner = factories.actor_for(tenant)
    nora = factories.make_member(tenant, "finance", "nora@example.org")
    team = groups.create_group(actor=owner, name="Own team")
    groups.add_member(actor=owner, group_id=team.id, user_id=helper.id)
    mine = grants.give(actor=owner, holder=Holder(group_id=team.id), role="viewer")
    shown = page(client)
    assert f'value="user:{nora.id}"' in shown
    assert f'value="user:{helper.id}"' not in shown, "nobody gives themselves anything"
    assert f'value="group:{team.id}"' not in shown, "nor a group that they are in"
    assert '<option value="engineer">Engineer: ' in shown
    assert '<option value="owner">Owner: ' not in shown
    assert "and invoices included (in a project only)</option>" in shown, (
        "an auditor reads more than one has, but not there"
    )
    with tenant_scope(tenant.id):
        finance = Grant.objects.get(membership__user=nora)
    assert f"withdraw={finance.id}" not in shown
    assert f"withdraw={mine.id}" not in shown
    for grant, words in ((finance, "permissions you do not have"), (mine, "cannot change your own rights")):
        assert "Withdraw a grant" not in page(client, f"?withdraw={grant.id}")
        answer = client.post(f"/t/lab/access/grants/{grant.id}/withdraw/")
        assert answer.status_code == 403
        assert words in text_of(answer)


def test_a_role_that_allows_nothing_in_a_project_is_given_with_a_warning(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    nora, project = factories.make_member(tenant, "engineer"), factories.make_project(tenant)
    role = roles.create_role(actor=factories.actor_for(tenant), name="Meter", permissions=["usage.ingest"])
    form = GOOD | {"holder": f"user:{nora.id}", "role": str(role.id), "project": str(project.id)}
    assert "It allows nothing there" in text_of(client.post("/t/lab/access/grants/new/", form, follow=True))


def test_an_owner_withdraws_another_but_not_themselves(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        first = Grant.objects.get(built_in="owner")
    client, user = logged_in(tenant)
    with tenant_scope(tenant.id):
        own = Grant.objects.get(membership__user=user)
    assert client.post(f"/t/lab/access/grants/{own.id}/withdraw/").status_code == 403
    assert client.post(f"/t/lab/access/grants/{first.id}/withdraw/").status_code == 302
    with tenant_scope(tenant.id):
        assert Grant.objects.filter(built_in="owner").count() == 1


def test_access_is_filtered_by_holder_role_place_and_permission(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    owner, project = factories.actor_for(tenant), factories.make_project(tenant)
    for name, role in (("nora", "viewer"), ("emil", "engineer"), ("fay", "finance")):
        factories.make_member(tenant, role, f"{name}@example.org")
    nora = User.objects.get(email="nora@example.org")
    grants.give(actor=owner, holder=Holder(user_id=nora.id), role="engineer", project_id=project.id)

    def named(query: str) -> set[str]:
        rows = csv.DictReader(StringIO(client.get(f"/t/lab/access/?export=csv&{query}").content.decode()))
        return {row["holder"].partition("@")[0] for row in rows if row["holder"].startswith(("nora", "emil", "fay"))}

    assert named("") == {"nora", "emil", "fay"}
    assert named("holder=NORA") == {"nora"}
    assert named("role=engineer") == {"nora", "emil"}
    assert named("permission=jobs.launch") == {"nora", "emil"}
    assert named("permission=jobs.launch&project=whole") == {"emil"}
    assert named(f"permission=jobs.launch&project={project.id}") == {"nora", "emil"}, "the whole counts in each"
    assert named("permission=invoices.manage") == {"fay"}
    assert named("holder=nobody") == set()
    assert "Nobody matches" in page(client, "?holder=nobody&permission=jobs.launch")
    assert "who may launch jobs" in page(client, "?holder=nobody&permission=jobs.launch")


def test_the_access_review_is_a_file_with_a_line_for_each_holder_and_grant(tenant: Tenant) -> None:
    client, _ = logged_in(tenant, "auditor")
    owner = factories.actor_for(tenant)
    nora = factories.make_member(tenant, "viewer", "nora@example.org")
    group = groups.create_group(actor=owner, name="=Research")
    groups.add_member(actor=owner, group_id=group.id, user_id=nora.id)
    project = factories.make_project(tenant)
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="engineer", project_id=project.id)
    empty = groups.create_group(actor=owner, name="Nobody yet")
    grants.give(actor=owner, holder=Holder(group_id=empty.id), role="viewer")
    service_accounts.create_service_account(actor=owner, name="nightly")
    answer = client.get("/t/lab/access/?export=csv")
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    of_nora = [row for row in rows if row["holder"] == "nora@example.org"]
    assert [(row["role"], row["where"], row["group"], row["granted_by"]) for row in of_nora] == [
        ("viewer", "whole organisation", "", ""),
        ("engineer", "A project", "'=Research", owner.label),
    ]
    assert of_nora[1]["permissions"] == " ".join(sorted(ROLE_PERMISSIONS["engineer"] & PROJECT_PERMISSIONS))
    of_group = [(row["kind"], row["role"]) for row in rows if row["holder"] == "Nobody yet"]
    assert of_group == [("group", "viewer")], "a group without people is reviewed too"
    assert "Nobody yet" in page(client)
    assert [row["role"] for row in rows if row["holder"] == "nightly"] == [""], "one without a grant is reviewed too"
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.list.exported", target_label="access").count() == 1
    assert client.get("/t/lab/access/?export=csv&permission=jobs.fly").status_code == 400
    assert client.get("/t/lab/access/?export=csv&holders=x").status_code == 400


def test_a_viewer_sees_who_may_do_what_and_no_form(tenant: Tenant) -> None:
    client, user = logged_in(tenant, "viewer")
    shown = page(client, f"?holder={user.email}")
    assert user.email in shown
    assert "Give a grant" not in shown
    assert "Withdraw" not in shown
    assert "Service accounts" not in shown, "it needs to read API keys"
    assert "Your rights" in text_of(client.get("/t/lab/settings/"))


def test_a_role_is_created_changed_after_who_is_affected_was_shown_and_deleted(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    nora = factories.make_member(tenant, "viewer", "nora@example.org")
    made = client.post("/t/lab/access/roles/new/", {"name": "Launcher", "permissions": ["jobs.launch", "jobs.view"]})
    assert made.status_code == 302
    with tenant_scope(tenant.id):
        role = Role.objects.get()
    assert role.permissions == ["jobs.launch", "jobs.view", "tenant.view"]
    path = f"/t/lab/access/roles/{role.id}/"
    assert "Nobody. A change affects no one." in text_of(client.get(path))
    grants.give(actor=factories.actor_for(tenant), holder=Holder(user_id=nora.id), role=role.id)
    form: dict[str, Any] = {"name": "Launcher", "description": "", "permissions": ["jobs.cancel", "jobs.view"]}
    asked = text_of(client.post(path, form))
    assert "They gain</dt><dd>Pause and cancel own jobs." in asked.replace("</dt> <dd>", "</dt><dd>")
    assert "Launch jobs, unless another grant allows it" in asked
    assert "nora@example.org" in asked
    with tenant_scope(tenant.id):
        assert "jobs.launch" in Role.objects.get().permissions, "nothing changes before the confirmation"
    assert client.post(path, form | {"confirmed": "1"}).status_code == 302
    with tenant_scope(tenant.id):
        assert Role.objects.get().permissions == ["jobs.cancel", "jobs.view", "tenant.view"]
    assert client.post(path, form | {"description": "For trainees"}).status_code == 302, "no right changes: no question"
    refused = client.post(f"{path}delete/")
    assert refused.status_code == 409
    assert "This role is granted. Withdraw its grants first." in text_of(refused)
    with tenant_scope(tenant.id):
        Grant.objects.filter(role=role).delete()
    assert client.post(f"{path}delete/").status_code == 302
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": "", "permissions": ["jobs.view"]}, "This field is required"),
        ({"name": "x" * 61, "permissions": ["jobs.view"]}, "at most 60 characters"),
        ({"name": "Owner", "permissions": ["jobs.view"]}, "Owner reads like a built-in name. Choose another one."),
        ({"name": "Taken", "permissions": ["jobs.view"]}, "This name is taken. Choose another one."),
        ({"name": "None"}, "Choose at least one permission."),
        ({"name": "Odd", "permissions": ["jobs.fly"]}, "Select a valid choice"),
        ({"name": "More", "permissions": ["tenant.manage"]}, "permissions you do not have: tenant.manage"),
    ],
)
def test_a_role_with_bad_input_is_refused_on_the_form(tenant: Tenant, form: dict[str, Any], words: str) -> None:
    roles.create_role(actor=factories.actor_for(tenant), name="taken", permissions=["jobs.view"])
    client, _ = logged_in(tenant, "admin")
    answer = client.post("/t/lab/access/roles/new/", form)
    assert answer.status_code == 422
    assert words in text_of(answer)
    with tenant_scope(tenant.id):
        assert Role.objects.count() == 1


def test_the_form_of_a_role_has_a_box_with_its_own_words_for_every_permission(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    form = page(client, "roles/new/")
    found = re.findall(r'name="permissions" value="([^"]+)".*?form-check-label">([^<]+)', form)
    titles = re.findall(r'<legend class="form-label">([^<]+)', form)
    assert len(set(titles)) == len(titles) and {"Meters", "Webhooks", "Organisation"} < set(titles)
    assert {permission for permission, _ in found} == PERMISSIONS
    assert len({words for _, words in found}) == len(PERMISSIONS)


def test_a_role_beyond_ones_own_rights_is_shown_and_not_changed(tenant: Tenant) -> None:
    role = roles.create_role(actor=factories.actor_for(tenant), name="Settings", permissions=["tenant.manage"])
    client, _ = logged_in(tenant, "admin")
    path = f"/t/lab/access/roles/{role.id}/"
    shown = text_of(client.get(path))
    assert "You cannot change this role, because it has permissions that you do not have" in shown
    assert "you do not have it" in shown
    assert ">Save<" not in shown
    assert "exceeds your rights" in page(client, "roles/")
    answer = client.post(path, {"name": "Settings", "permissions": ["jobs.view"], "confirmed": "1"})
    assert answer.status_code == 422
    assert "You cannot change a role with permissions you do not have: tenant.manage." in text_of(answer)


def test_a_group_is_created_filled_emptied_and_deleted(tenant: Tenant) -> None:
    client, me = logged_in(tenant)
    nora = factories.make_member(tenant, "viewer", "nora@example.org")
    answer = client.post("/t/lab/access/groups/new/", {"name": "Research"})
    with tenant_scope(tenant.id):
        group = Group.objects.get()
    path = f"/t/lab/access/groups/{group.id}/"
    assert answer["Location"] == path
    assert "Nobody is in this group" in text_of(client.get(path))
    assert f'value="{me.id}"' not in text_of(client.get(path)), "nobody adds themselves"
    assert client.post(f"{path}people/", {"user_id": str(nora.id)}).status_code == 302
    assert client.post(f"{path}people/", {"user_id": ""}).status_code == 422
    assert client.post(f"{path}people/", {"user_id": str(me.id)}).status_code == 422
    grants.give(actor=factories.actor_for(tenant), holder=Holder(group_id=group.id), role="engineer")
    shown = text_of(client.get(path))
    assert "nora@example.org loses in the whole organisation: Report usage, launch jobs" in shown
    assert "Engineer" in shown
    assert roles_of(tenant, nora) == [("viewer", ""), ("engineer", "")]
    assert client.post(f"{path}people/{nora.id}/remove/").status_code == 302
    assert roles_of(tenant, nora) == [("viewer", "")]
    assert client.post(f"{path}people/{nora.id}/remove/").status_code == 404
    assert client.post(f"{path}delete/").status_code == 302
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(("name", "words"), [("", "This field is required"), ("research", "This name is taken")])
def test_a_group_with_a_bad_name_is_refused_on_the_form(tenant: Tenant, name: str, words: str) -> None:
    groups.create_group(actor=factories.actor_for(tenant), name="Research")
    client, _ = logged_in(tenant)
    answer = client.post("/t/lab/access/groups/new/", {"name": name})
    assert answer.status_code == 422
    assert words in text_of(answer)


def test_a_group_beyond_ones_own_rights_offers_nothing(tenant: Tenant) -> None:
    owner = factories.actor_for(tenant)
    nora = factories.make_member(tenant, "viewer", "nora@example.org")
    group = groups.create_group(actor=owner, name="Money")
    groups.add_member(actor=owner, group_id=group.id, user_id=nora.id)
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="finance")
    client, _ = person_with(tenant, {"members.manage", *ROLE_PERMISSIONS["engineer"]})
    path = f"/t/lab/access/groups/{group.id}/"
    shown = text_of(client.get(path))
    assert "allow more than your own rights" in shown
    assert ">Remove<" not in shown
    assert ">Delete<" not in shown
    assert client.post(f"{path}delete/").status_code == 403


def test_a_service_account_gets_a_role_and_a_key_and_is_disabled_with_its_keys_named(tenant: Tenant) -> None:
    client, _ = logged_in(tenant, "admin")
    made = client.post("/t/lab/access/service-accounts/new/", {"name": "nightly", "description": "Trains"})
    assert made.status_code == 302
    with tenant_scope(tenant.id):
        account = ServiceAccount.objects.get()
    assert client.post("/t/lab/access/grants/new/", GOOD | {"holder": f"account:{account.id}"}).status_code == 302
    assert "Create key" in page(client, "service-accounts/")
    offered = text_of(client.get(f"/t/lab/api-keys/?service_account={account.id}"))
    assert f'<option value="{account.id}" selected>Service account nightly</option>' in offered
    key = {"name": "nightly key", "days": "30", "service_account": str(account.id)}
    beyond = client.post("/t/lab/api-keys/new/", key | {"scopes": ["invoices.view"]})
    assert beyond.status_code == 422
    assert "The service account lacks invoices.view" in text_of(beyond)
    assert client.post("/t/lab/api-keys/new/", key | {"service_account": "x"}).status_code == 422
    assert client.post("/t/lab/api-keys/new/", key | {"presets": ["launch"]}).status_code == 200
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get().service_account_id == account.id
    assert "of the service account nightly" in text_of(client.get("/t/lab/api-keys/"))
    assert "Its keys are revoked: nightly key." in page(client, "service-accounts/")
    assert client.post(f"/t/lab/access/service-accounts/{account.id}/disable/").status_code == 302
    shown = page(client, "service-accounts/")
    assert "Disabled" in shown
    assert "Create key" not in shown
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get().revoked_at is not None
    assert f"account:{account.id}" not in page(client), "a disabled one gets no grant"


@pytest.mark.parametrize(("name", "words"), [("", "This field is required"), ("NIGHTLY", "This name is taken")])
def test_a_service_account_with_a_bad_name_is_refused_on_the_form(tenant: Tenant, name: str, words: str) -> None:
    service_accounts.create_service_account(actor=factories.actor_for(tenant), name="nightly")
    client, _ = logged_in(tenant)
    answer = client.post("/t/lab/access/service-accounts/new/", {"name": name})
    assert answer.status_code == 422
    assert words in text_of(answer)


def test_the_api_creates_and_lists_the_keys_of_a_service_account(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    client.get("/t/lab/")
    account = service_accounts.create_service_account(actor=factories.actor_for(tenant), name="nightly")
    body = {"name": "k", "scopes": ["jobs.view"], "service_account_id": str(account.id)}
    refused = client.post("/api/v1/api-keys/", body, content_type="application/json")
    assert refused.status_code == 400
    assert "lacks" in refused.content.decode()
    grants.give(actor=factories.actor_for(tenant), holder=Holder(service_account_id=account.id), role="viewer")
    made = client.post("/api/v1/api-keys/", body, content_type="application/json")
    assert made.status_code == 201
    assert made.json()["service_account_id"] == str(account.id)
    listed = client.get("/api/v1/api-keys/").json()["results"]
    assert [row["service_account_id"] for row in listed] == [str(account.id)]
    bad = client.post("/api/v1/api-keys/", body | {"service_account_id": "x"}, content_type="application/json")
    assert bad.status_code == 400


def test_the_members_page_shows_several_roles_and_links_to_their_grants(tenant: Tenant) -> None:
    client, _ = logged_in(tenant)
    nora, project = factories.make_member(tenant, "viewer", "nora@example.org"), factories.make_project(tenant)
    owner = factories.actor_for(tenant)
    grants.give(actor=owner, holder=Holder(user_id=nora.id), role="engineer")
    grants.give(actor=owner, holder=Holder(user_id=nora.id), role="finance", project_id=project.id)
    shown = text_of(client.get("/t/lab/members/"))
    assert "Engineer, viewer" in shown
    assert "more in 1 project" in shown
    assert 'href="/t/lab/access/?holder=nora%40example.org"' in shown
    assert "Auditor: read access to everything that is recorded" in shown, "the form invites auditors"
    asked = text_of(client.get(f"/t/lab/members/?change={nora.id}&role=auditor"))
    assert 'href="?export=csv"' in asked, "the file of all members, whoever the page shows"
    assert "<del>Engineer, viewer</del> → <ins>Auditor</ins>" in asked
    assert "those of groups and in projects stay" in asked


def test_a_key_made_on_the_page_belongs_to_the_person_unless_an_account_is_chosen(tenant: Tenant) -> None:
    client, user = logged_in(tenant)
    assert "Belongs to" not in text_of(client.get("/t/lab/api-keys/")), "without a service account there is no choice"
    service_accounts.create_service_account(actor=factories.actor_for(tenant), name="nightly")
    form = {"name": "mine", "days": "30", "presets": ["watch"], "service_account": ""}
    assert client.post("/t/lab/api-keys/new/", form).status_code == 200
    with tenant_scope(tenant.id):
        key = ApiKey.objects.get()
    assert key.service_account_id is None
    assert key.created_by_id == user.id
