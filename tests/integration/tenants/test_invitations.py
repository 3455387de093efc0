"""Invitations: single use, one address, one role, seven days, a link whose host no request decides."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client, override_settings

from config.mail import mail_settings
from tenants import operations, queries
from tenants.clock import now
from tenants.errors import Conflict, ExchequerError, Invalid, PermissionDenied
from tenants.events import outbox
from tenants.identity import api_keys, creators, invitation_queries, invitations, members
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Invitation, OutboxMessage, Session, Tenant, User
from tenants.notifications import file_backend
from tests.integration.tenants.test_audit_order import in_thread
from tests.support import factories
from tests.support.pages import text_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db
ADDRESS = "nora@example.org"
NEW = {"name": "Nora New", "password": "a long walk at night"}


def issue(tenant: Tenant, role: str = "engineer", by: str = "owner") -> str:
    row = invitations.invite(actor=factories.actor_for(tenant, by), email=" Nora@Example.org ", role=role)
    return invitations.token_of(row.id)


def roles_of(tenant: Tenant, email: str = ADDRESS) -> list[str]:
    with tenant_scope(tenant.id):
        return [one.role for one in queries.members() if one.email == email]


def test_a_new_person_joins_with_the_role_of_the_invitation() -> None:
    tenant = factories.make_tenant()
    token = issue(tenant)
    user, offer = invitations.accept(token=token, user=None, **NEW)
    assert (user.email, offer.slug, roles_of(tenant)) == (ADDRESS, tenant.slug, ["engineer"])
    assert user.check_password(NEW["password"])
    with tenant_scope(tenant.id):
        entry = AuditEntry.objects.get(action="tenants.invitation.accepted")
        assert (entry.actor_id, entry.changes["role"]) == (user.id, [None, "engineer"])
        assert Invitation.objects.get().accepted_at is not None


def test_stored_emails_contain_no_secret_link() -> None:
    tenant = factories.make_tenant()
    token = issue(tenant)
    with tenant_scope(tenant.id):
        row = Invitation.objects.get()
        stored = [str(vars(row)), *(str(one.payload) for one in OutboxMessage.objects.all())]
        stored += [str(vars(one)) for one in AuditEntry.objects.all()]
    assert len(token) >= 43
    assert bytes(row.token_hash) == invitations.hash_of(token)
    assert not any(token in text for text in stored)


def test_someone_with_an_account_joins_with_it_and_with_no_other() -> None:
    tenant = factories.make_tenant()
    nora, mallory = factories.make_user(ADDRESS), factories.make_user()
    token = issue(tenant)
    with pytest.raises(invitations.WrongAccount):
        invitations.accept(token=token, user=mallory)
    with pytest.raises(invitations.AccountExists):
        invitations.accept(token=token, user=None, **NEW)
    assert roles_of(tenant) == []
    invitations.accept(token=token, user=nora)
    assert roles_of(tenant) == ["engineer"]
    with pytest.raises(invitations.InvitationGone):
        invitations.accept(token=token, user=nora)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "", "password": NEW["password"]},
        {"name": "N", "password": "short"},
        {"name": "N", "password": "password1234"},
    ],
)
def test_a_refused_form_leaves_the_invitation_open(given: dict[str, str]) -> None:
    tenant = factories.make_tenant()
    token = issue(tenant)
    with pytest.raises(Invalid):
        invitations.accept(token=token, user=None, **given)
    assert not User.objects.filter(email=ADDRESS).exists()
    assert invitations.find(token).role == "engineer"


def test_an_invitation_ends_by_expiry_withdrawal_a_newer_one_or_its_issuers_removal(superuser: Any) -> None:
    tenant = factories.make_tenant()
    owner, admin = factories.actor_for(tenant), factories.actor_for(tenant, "admin")
    assert admin.id is not None

    def dead(token: str) -> bool:
        try:
            invitations.find(token)
        except invitations.InvitationGone:
            return True
        return False

    first = invitations.invite(actor=owner, email=ADDRESS, role="viewer")
    second = invitations.invite(actor=owner, email=ADDRESS, role="finance")
    assert (dead(invitations.token_of(first.id)), dead(invitations.token_of(second.id))) == (True, False)
    invitations.revoke(actor=owner, invitation_id=second.id)
    assert dead(invitations.token_of(second.id))
    third = invitations.invite(actor=admin, email=ADDRESS, role="engineer")
    members.change_role(actor=owner, user_id=admin.id, role="viewer")
    assert dead(invitations.token_of(third.id))
    members.change_role(actor=owner, user_id=admin.id, role="admin")
    assert dead(invitations.token_of(third.id)), "a role that is raised again brings nothing back"
    anew = invitations.invite(actor=admin, email=ADDRESS, role="engineer")
    User.objects.filter(id=admin.id).update(is_active=False)
    assert dead(invitations.token_of(anew.id))
    User.objects.filter(id=admin.id).update(is_active=True)
    assert not dead(invitations.token_of(anew.id))
    members.remove_member(actor=owner, user_id=admin.id)
    assert dead(invitations.token_of(anew.id))
    fourth = invitations.invite(actor=owner, email=ADDRESS, role="engineer")
    with tenant_scope(tenant.id):
        Invitation.objects.filter(id=fourth.id).update(expires_at=fourth.created_at - timedelta(seconds=1))
    assert dead(invitations.token_of(fourth.id))
    assert [row.state for row in _listed(tenant)] == ["expired", "revoked", "revoked", "revoked", "revoked"]
    assert dead("nothing")
    assert roles_of(tenant) == []


def _listed(tenant: Tenant) -> list[invitation_queries.InvitationRow]:
    with tenant_scope(tenant.id):
        return invitation_queries.invitations()


def test_seven_days_and_not_a_role_above_ones_own() -> None:
    tenant = factories.make_tenant()
    admin = factories.actor_for(tenant, "admin")
    with pytest.raises(PermissionDenied):
        invitations.invite(actor=admin, email=ADDRESS, role="owner")
    with pytest.raises(PermissionDenied):
        invitations.invite(actor=factories.actor_for(tenant, "engineer"), email=ADDRESS, role="viewer")
    with pytest.raises(Invalid):
        invitations.invite(actor=admin, email="nora", role="viewer")
    with pytest.raises(Invalid):
        invitations.invite(actor=admin, email=ADDRESS, role="king")
    with pytest.raises(Conflict):
        invitations.invite(actor=admin, email=admin.label, role="viewer")
    row = invitations.invite(actor=admin, email=ADDRESS, role="viewer")
    assert abs(row.expires_at - row.created_at - timedelta(days=7)) < timedelta(seconds=5)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("has_account", [False, True])
def test_of_twenty_who_accept_at_once_one_succeeds(has_account: bool) -> None:
    tenant = factories.make_tenant()
    token = issue(tenant)
    user = factories.make_user(ADDRESS) if has_account else None
    start = threading.Barrier(20)
    answers: list[str] = []

    def accept() -> None:
        try:
            start.wait(60)
            given = {} if user else NEW
            invitations.accept(token=token, user=user, **given)
            answers.append("joined")
        except ExchequerError as refused:
            answers.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=accept) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert answers.count("joined") == 1
    assert set(answers) <= {"joined", "invitation_gone", "account_exists"}
    assert len(answers) == 20
    assert roles_of(tenant) == ["engineer"]
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.invitation.accepted").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", ["accept", "key", "invite"])
def test_what_is_made_while_its_maker_is_removed_is_not_made(act: str, superuser: Any) -> None:
    """The removal is not committed yet when the other operation begins: it waits, and then finds its creator gone."""
    tenant = factories.make_tenant()
    owner, leaver = factories.actor_for(tenant), factories.actor_for(tenant, "admin")
    offer = invitations.invite(actor=leaver, email=ADDRESS, role="viewer")
    acts: dict[str, Callable[[], object]] = {
        "accept": lambda: invitations.accept(token=invitations.token_of(offer.id), user=None, **NEW),
        "key": lambda: api_keys.create_api_key(actor=leaver, name="late", scopes=["jobs.view"]),
        "invite": lambda: invitations.invite(actor=leaver, email="late@example.org", role="viewer"),
    }
    faults: list[BaseException] = []
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with tenant_scope(tenant.id):
        members.remove_member(actor=owner, user_id=leaver.id)  # type: ignore[arg-type]
        other = in_thread(acts[act], faults)
        wait_until(lambda: not other.is_alive() or superuser.execute(waits).fetchone() == (1,), "the act waits")
        assert other.is_alive(), "it did not wait"
    other.join(60)
    (fault,) = faults
    assert isinstance(fault, creators.AccessEnded | invitations.InvitationGone)
    with tenant_scope(tenant.id):
        assert not ApiKey.objects.filter(revoked_at=None).exists()
        assert not Invitation.objects.filter(revoked_at=None).exists()
    assert roles_of(tenant) == []


def test_in_a_demo_without_a_mail_server_the_one_who_invites_gets_the_link_once(tmp_path: Path, settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True})
    tenant = factories.make_tenant()
    owner, other = Client(), Client()
    owner.force_login(factories.make_member(tenant, "owner"))
    other.force_login(factories.make_member(tenant, "admin"))
    members, form = f"/t/{tenant.slug}/members/", {"email": "Nora@example.org", "role": "viewer"}

    def link() -> str:
        with tenant_scope(tenant.id):
            row = Invitation.objects.get(revoked_at=None)
        return f"http://127.0.0.1:8000/accounts/invitation/{invitations.token_of(row.id)}/"

    with override_settings(**mail_settings("", tmp_path)):
        owner.post(f"{members}invite/", form)
        assert link() not in text_of(other.get(members))
        first = text_of(owner.get(members))
        assert f'data-copy="{link()}"' in first
        assert "earlier invitation" not in first
        assert link() not in text_of(owner.get(members)), "it was shown twice"
        stored = [str(session.get_decoded()) for session in Session.objects.all()]
        owner.post(f"{members}invite/", form)
        anew = text_of(owner.get(members))
        assert link() in anew
        assert "The link of the earlier invitation no longer works." in anew
        forgotten = Client().post("/accounts/password/reset/", {"email": "nobody@example.org"}, follow=True)
        assert "the email is in a file on the server" in text_of(forgotten)
    assert not any(invitations.token_of(row.id) in text for row in _listed(tenant) for text in stored)


@pytest.mark.parametrize(
    ("url", "demo"), [("smtp://mail.example:25", False), ("smtp://mail.example:25", True), ("", False)]
)
def test_with_a_mail_server_or_without_a_demo_the_link_goes_to_the_address_alone(
    url: str, demo: bool, tmp_path: Path, settings: Any
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": demo})
    tenant = factories.make_tenant()
    owner = Client()
    owner.force_login(factories.make_member(tenant, "owner"))
    with override_settings(**mail_settings(url, tmp_path)):
        owner.post(f"/t/{tenant.slug}/members/invite/", {"email": ADDRESS, "role": "viewer"})
        page = text_of(owner.get(f"/t/{tenant.slug}/members/"))
    assert f"{ADDRESS} is invited as viewer" in page
    assert "/accounts/invitation/" not in page


def test_a_role_changes_only_after_confirmation(client: Client) -> None:
    tenant = factories.make_tenant()
    person, admin = factories.make_member(tenant, "viewer", ADDRESS), factories.make_member(tenant, "admin")
    members = f"/t/{tenant.slug}/members/"
    client.force_login(admin)
    asked = text_of(client.get(members, {"change": str(person.id), "role": "engineer"}))
    assert f"Change the role of {person.name or person.email}?" in asked
    assert roles_of(tenant) == ["viewer"]
    for refused in ({"change": str(person.id), "role": "owner"}, {"change": str(admin.id), "role": "viewer"}):
        assert "Change the role of" not in text_of(client.get(members, refused)).split("<table")[0]
    client.post(f"{members}{person.id}/role/", {"role": "engineer"})
    assert roles_of(tenant) == ["engineer"]


HOSTS = [
    {"HTTP_HOST": "evil.example"},
    {"HTTP_HOST": "evil.example:8000"},
    {"HTTP_X_FORWARDED_HOST": "evil.example"},
    {"HTTP_X_FORWARDED_HOST": "evil.example, testserver"},
    {"HTTP_X_FORWARDED_PROTO": "ftp"},
    {"HTTP_X_HOST": "evil.example"},
    {"HTTP_X_ORIGINAL_HOST": "evil.example"},
    {"HTTP_FORWARDED": "host=evil.example"},
    {"HTTP_X_FORWARDED_SERVER": "evil.example"},
    {"SERVER_NAME": "evil.example"},
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("header", HOSTS, ids=str)
def test_no_header_decides_where_the_link_leads(
    header: dict[str, str], tmp_path: Path, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    tenant = factories.make_tenant()
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    with override_settings(ALLOWED_HOSTS=["*"], **mail_settings(f"file://{tmp_path}", tmp_path)):
        client.post(f"/t/{tenant.slug}/members/invite/", {"email": ADDRESS, "role": "viewer"}, **header)
        with as_control():
            for message in _invited(tenant):
                outbox.deliver(message, tenant.id)
        links = [line for email in file_backend.stored_emails() for line in email.text.splitlines() if "://" in line]
    assert len(links) == 1
    assert links[0].startswith("http://127.0.0.1:8000/accounts/invitation/")
    invitations.find(links[0].rstrip("/").rsplit("/", 1)[1])


@pytest.mark.django_db(transaction=True)
def test_an_email_starts_with_fixed_words_and_quotes_user_input(
    tmp_path: Path, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    lure = "Your account is locked ” https://evil.example/login \u202egnol" + "x" * 60
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    operations.change_tenant(actor=owner, name="Bank “of” https://evil.example", timezone="UTC")
    key = api_keys.create_api_key(actor=owner, name=lure.replace("\u202e", ""), scopes=sorted(owner.permissions))
    sender = replace(owner, kind="api_key", id=key.id, label=lure + "\n\nBcc: all")
    with override_settings(**mail_settings(f"file://{tmp_path}", tmp_path)):
        invitations.invite(actor=sender, email=ADDRESS, role="viewer")
        with as_control():
            for message in _invited(tenant):
                outbox.deliver(message, tenant.id)
        (email,) = file_backend.stored_emails()
    lines = email.text.splitlines()
    assert (email.subject, lines[0]) == (
        "Invitation to Exchequer",
        "You are invited to join an organisation on Exchequer.",
    )
    assert [line for line in lines if "://" in line] == [lines[2]]
    by = next(line for line in lines if line.startswith("Invited by: "))
    assert by.startswith("Invited by: an API key named “Your account is locked https: evil. example login gnol")
    assert (by[-2:], len(by)) == ("…”", len("Invited by: an API key named “”") + 60)
    assert "Organisation: “Bank of https: evil. example”" in lines


@pytest.mark.django_db(transaction=True)
def test_names_are_not_linked_and_invalid_addresses_block_no_email(
    tmp_path: Path, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    with override_settings(**mail_settings(f"file://{tmp_path}", tmp_path)):
        for number, name in enumerate(("support@bank.example", "ｅｖｉｌ．ｅｘａｍｐｌｅ／login", "evil。example")):
            key = api_keys.create_api_key(actor=owner, name=f"key {number}", scopes=sorted(owner.permissions))
            sender = replace(owner, kind="api_key", id=key.id, label=name)
            invitations.invite(actor=sender, email=f"n{number}@example.org", role="viewer")
        invitations.invite(actor=owner, email=ADDRESS, role="viewer")
        old = [invitations.invite(actor=owner, email=f"old{number}@example.org", role="viewer") for number in range(2)]
        with tenant_scope(tenant.id):  # as an earlier version admitted them
            for row, address in zip(old, ('"a\x0c\x0cLocked"@x.example', '"a\x0bBcc:victim"@x.example'), strict=True):
                Invitation.objects.filter(id=row.id).update(email=address)
        with as_control():
            for message in _invited(tenant):
                assert outbox.deliver(message, tenant.id)
        emails = file_backend.stored_emails()
    said = sorted(line for one in emails for line in one.text.splitlines() if line.startswith("Invited by: "))
    assert said == [
        "Invited by: an API key named “evil. example login”",
        "Invited by: an API key named “evil. example”",
        "Invited by: an API key named “support bank. example”",
        f"Invited by: {owner.label}",
    ]


def test_one_address_gets_few_invitations_a_day(client: Client) -> None:
    tenant = factories.make_tenant()
    key = factories.make_api_key(tenant)

    def ask(address: str) -> Any:
        body = {"email": address, "role": "viewer"}
        headers = {"Authorization": f"Bearer {key}"}
        return client.post("/api/v1/invitations/", body, content_type="application/json", headers=headers)

    assert [ask(ADDRESS.upper()).status_code for _ in range(6)] == [201] * 5 + [429]
    assert ask(ADDRESS).json()["title"] == f"{ADDRESS} was invited 5 times in a day. Try again later."
    assert ask("otto@example.org").status_code == 201


def test_an_organisation_sends_so_many_invitations_a_day(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    tenant, other = factories.make_tenant(), factories.make_tenant()
    monkeypatch.setattr(invitations, "MOST_A_DAY", 3)
    key = factories.make_api_key(tenant)

    def ask(number: int) -> Any:
        # One address again and again: revoked invitations were sent, too. By page and API.
        body = {"email": ADDRESS, "role": "viewer"}
        path = "/api/v1/members/" if number % 2 else "/api/v1/invitations/"
        return client.post(path, body, content_type="application/json", headers={"Authorization": f"Bearer {key}"})

    assert [ask(number).status_code for number in range(3)] == [201, 201, 201]
    held = ask(3)
    assert (held.status_code, held.json()["code"]) == (429, "too_many_invitations")
    assert 86_000 < int(held["Retry-After"]) <= 86_400
    issue(other)
    with tenant_scope(tenant.id):
        Invitation.objects.update(created_at=now() - timedelta(days=1, seconds=1))
    assert ask(4).status_code == 201
    page = Client()
    page.force_login(factories.make_member(tenant, "owner"))
    with tenant_scope(tenant.id):
        Invitation.objects.update(created_at=now())
    assert "Try again later" in text_of(
        page.post(f"/t/{tenant.slug}/members/invite/", {"email": ADDRESS, "role": "viewer"})
    )


def _invited(tenant: Tenant) -> list[UUID]:
    with tenant_scope(tenant.id):
        return list(OutboxMessage.objects.filter(topic="tenants.InvitationIssued").values_list("id", flat=True))
