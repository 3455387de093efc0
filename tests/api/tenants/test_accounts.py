"""Accounts: nobody takes an address meant for another, nobody becomes a member unasked, limits cannot be evaded."""

import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core import mail
from django.core.cache import caches
from django.db import OperationalError
from django.test import Client, override_settings

from config import settings as shipped
from config.mail import mail_settings
from tenants.access.actor import Actor
from tenants.identity import account_adapter, account_forms, audited_access, invitations
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Invitation, Membership, Tenant, User
from tenants.notifications import file_backend
from tenants.rights import held
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
CLOSED = (
    "email/",
    "confirm-email/",
    "confirm-email/abc/",
    "signup/",
    "login/code/",
    "login/code/confirm/",
)


def key_client() -> tuple[Client, Tenant]:
    tenant = factories.make_tenant()
    return Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"}), tenant


@pytest.mark.parametrize("path", CLOSED)
def test_no_page_gives_an_account_another_address(path: str) -> None:
    client, user = Client(), factories.make_member(factories.make_tenant(), "viewer")
    client.force_login(user)
    for answer in (
        client.get(f"/accounts/{path}"),
        client.post(f"/accounts/{path}", {"action_add": "", "email": "cfo@example.org"}),
        client.post(f"/accounts/{path}", {"action_primary": "", "email": "cfo@example.org"}),
    ):
        assert answer.status_code == 404
    user.refresh_from_db()
    assert user.email != "cfo@example.org"


def shape(answer: Any) -> tuple[int, dict[str, Any]]:
    """Return a response without what differs between any two invitations."""
    body = answer.json()
    return answer.status_code, body | dict.fromkeys(("email", "id", "invitation", "created_at", "expires_at"))


@pytest.mark.parametrize("route", ["members", "invitations"])
def test_no_response_reveals_an_account_and_none_is_created_unasked(route: str) -> None:
    client, tenant = key_client()
    stranger = factories.make_member(factories.make_tenant(), "owner", "bob@other.example")
    User.objects.filter(id=stranger.id).update(name="Robert Secret")
    inactive = factories.make_user("gone@other.example")
    User.objects.filter(id=inactive.id).update(is_active=False)

    def ask(email: str) -> Any:
        body = {"email": email, "role": "viewer"} | ({"name": "x"} if route == "members" else {})
        return client.post(f"/api/v1/{route}/", body, content_type="application/json")

    known, new, gone = (ask(email) for email in ("Bob@other.example", "new@other.example", "gone@other.example"))
    assert shape(known) == shape(new) == shape(gone)
    assert known.status_code == 201
    assert b"Secret" not in known.content
    assert shape(ask("bob@other.example")) == shape(ask("new@other.example")) == shape(new)
    assert not User.objects.filter(email="new@other.example").exists()
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user=stranger).exists()


def test_the_link_of_an_invitation_is_the_same_with_an_account_and_without() -> None:
    """Without a mail server the inviter gets the link, too."""
    factories.make_user("kept@other.example")
    owner = factories.actor_for(factories.make_tenant())
    addresses = ("kept@other.example", "none@other.example")
    links = [
        f"/accounts/invitation/{invitations.token_of(invitations.invite(actor=owner, email=email, role='viewer').id)}/"
        for email in addresses
    ]

    def answers(given: dict[str, str] | None) -> set[tuple[int, str]]:
        found = set()
        for email, link in zip(addresses, links, strict=True):
            client = Client()
            answer = client.get(link) if given is None else client.post(link, given)
            tokens, when = r"\b[A-Za-z0-9]{64}\b", r"<time.*?</time>"
            own = (
                re.escape(email),
                re.escape(link),
                re.escape(quote(link)),
                re.escape(quote(link, safe="")),
                tokens,
                when,
                r'nonce="[^"]*"',
            )
            found.add((answer.status_code, re.sub("|".join(own), "", text_of(answer))))
        return found

    tries: list[dict[str, str] | None] = [None, {}, {"name": "N"}, {"name": "N", "password": "short"}]
    tries += [{"name": "N", "password": "password1234"}, {"name": "\x07", "password": "a long walk at night"}]
    for given in tries:
        assert len(answers(given)) == 1, given
    assert User.objects.filter(email="none@other.example").count() == 0
    taken = Client().post(links[0], {"name": "N", "password": "a long walk at night"})
    assert (taken.status_code, "Log in with it" in text_of(taken)) == (409, True)


def test_someone_new_who_joins_is_logged_in() -> None:
    actor = factories.actor_for(factories.make_tenant())
    made = invitations.invite(actor=actor, email="none@other.example", role="viewer")
    form = {"name": "N", "password": "a long walk at night"}
    answer = Client().post(f"/accounts/invitation/{invitations.token_of(made.id)}/", form, follow=True)
    assert [status for _, status in answer.redirect_chain] == [302]
    assert "Overview" in text_of(answer)


def test_an_invitation_does_not_take_over_an_existing_account() -> None:
    client, _ = key_client()
    body = {"email": "nora@example.org", "role": "viewer"}
    assert client.post("/api/v1/members/", body, content_type="application/json").status_code == 201
    other = invitations.invite(
        actor=factories.actor_for(factories.make_tenant()), email="nora@example.org", role="engineer"
    )
    person, _ = invitations.accept(
        token=invitations.token_of(other.id), user=None, name="Nora", password="a long one indeed"
    )
    assert person.check_password("a long one indeed")


@pytest.mark.parametrize(
    ("bound_to", "more", "opens"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("0.0.0.0", {}, False),  # noqa: S104 (what is tested)
        ("192.0.2.7", {}, False),
        ("", {}, False),
        ("127.0.0.1", {"public_url": "https://exchequer.example.org"}, False),
        ("127.0.0.1", {"trusted_proxies": "127.0.0.1"}, False),
    ],
)
def test_the_published_password_opens_nothing_that_others_can_reach(
    bound_to: str, more: dict[str, str], opens: bool
) -> None:
    user = factories.make_user("owner@riverside.example", password=settings.PUBLISHED_PASSWORD)
    here = settings.EXCHEQUER.model_copy(update={"bound_to": bound_to, **more})
    with override_settings(EXCHEQUER=here):
        form = {"login": user.email, "password": settings.PUBLISHED_PASSWORD}
        assert (Client().post("/accounts/login/", form).status_code == 302) is opens


def test_the_published_password_is_refused_for_accounts() -> None:
    client, user = Client(), factories.make_member(factories.make_tenant(), "viewer")
    client.force_login(user)
    new = settings.PUBLISHED_PASSWORD
    form = {"oldpassword": factories.PASSWORD, "password1": new, "password2": new}
    assert "is public" in text_of(client.post("/accounts/password/change/", form))


def test_a_password_changes_with_an_entry_in_every_organisations_log_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenants = sorted((factories.make_tenant() for _ in range(2)), key=lambda one: one.id)
    user = factories.make_member(tenants[0], "viewer")
    with tenant_scope(tenants[1].id):
        held.give(Membership.objects.create(user=user), "admin")
    client, new = Client(raise_request_exception=False), "a long walk at night"
    client.force_login(user)
    form = {"oldpassword": factories.PASSWORD, "password1": new, "password2": new}

    def logged() -> list[int]:
        found = []
        for tenant in tenants:
            with tenant_scope(tenant.id):
                found.append(
                    AuditEntry.objects.filter(action=audited_access.PASSWORD_CHANGED, actor_id=user.id).count()
                )
        return found

    def breaks(*, actor: Actor, log: Any = audited_access.password) -> None:
        if actor.tenant_id == tenants[1].id:
            raise OperationalError("the connection is lost")
        log(actor=actor)

    with monkeypatch.context() as patched:
        patched.setattr(audited_access, "password", breaks)
        assert client.post("/accounts/password/change/", form).status_code == 503
    user.refresh_from_db()
    assert (user.check_password(factories.PASSWORD), logged()) == (True, [0, 0])
    assert client.post("/accounts/password/change/", form).status_code == 302
    user.refresh_from_db()
    assert (user.check_password(new), logged()) == (True, [1, 1])


def test_an_address_that_no_mail_server_takes_is_refused() -> None:
    client, _ = key_client()
    host = ".".join(["a" * 60] * 4)
    answer = client.post(
        "/api/v1/members/", {"email": f"ana@{host}.example", "role": "viewer"}, content_type="application/json"
    )
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["email"])


@pytest.mark.parametrize(
    "address",
    [
        '"a\x0c\x0cYour\\ account\\ is\\ locked:\\ http://evil.example"@x.example',
        '"a\x0bBcc:victim"@x.example',
        '"http://evil.example/login"@x.example',
        "adm\u0131n@riverside.example",
        "a@\u2028x.example",
        "a@\uff45xample.org",
        "a@[127.0.0.1]",
    ],
)
def test_a_misleading_address_is_refused_at_every_entry_point(address: str) -> None:
    client, tenant = key_client()
    page = Client()
    page.force_login(factories.make_member(tenant, "owner"))
    for route in ("members", "invitations"):
        body = {"email": address, "role": "viewer"}
        answer = client.post(f"/api/v1/{route}/", body, content_type="application/json")
        assert (answer.status_code, list(answer.json()["fields"])) == (400, ["email"])
    assert page.post(f"/t/{tenant.slug}/members/invite/", {"email": address, "role": "viewer"}).status_code == 422
    with tenant_scope(tenant.id):
        assert not Invitation.objects.exists()


@pytest.mark.parametrize("url", ["", "smtp://mail.example:25"])
def test_the_response_to_a_forgotten_password_waits_for_no_email(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")
    aside: list[Any] = []
    monkeypatch.setattr(account_forms.ACCOUNT_EMAILS, "put", lambda key, work: aside.append(work) or True)
    made: list[str] = []
    monkeypatch.setattr(account_adapter.AccountAdapter, "render_mail", lambda *given, **more: made.append("letter"))
    with override_settings(**mail_settings(url, tmp_path)):
        answers = [Client().post("/accounts/password/reset/", {"email": one}) for one in (user.email, "no@x.example")]
    assert {(one.status_code, one["Location"]) for one in answers} == {(302, "/accounts/password/reset/done/")}
    assert (len(aside), made) == (2, []), "the same work for an address with an account and for one without"


def test_a_password_email_is_created_in_its_own_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")

    def aside(_: object, work: Any) -> bool:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
        return True

    monkeypatch.setattr(account_forms.ACCOUNT_EMAILS, "put", aside)
    with override_settings(**mail_settings("", tmp_path)):
        Client().post("/accounts/password/reset/", {"email": user.email})
        (email,) = file_backend.stored_emails()
    assert (email.to, "/accounts/password/reset/key/" in email.text) == (user.email, True)


def test_one_address_gets_few_password_emails_an_hour() -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")
    for address in (user.email, "nobody@x.example"):
        asked = [
            Client(REMOTE_ADDR=f"192.0.2.{number}").post("/accounts/password/reset/", {"email": address})
            for number in range(7)
        ]
        assert [one.status_code for one in asked] == [302] * 5 + [429] * 2
    assert len(mail.outbox) == 5


def test_a_name_that_others_read_is_printable() -> None:
    tenant = factories.make_tenant()
    user = factories.make_member(tenant, "viewer")
    client = Client()
    client.force_login(user)
    for name in ("Ana\nBcc: all", "Ana\u202egnol"):
        answer = client.post(f"/t/{tenant.slug}/settings/", {"name": name, "theme": "auto"})
        assert (answer.status_code, "Use printable characters." in text_of(answer)) == (422, True)


def test_many_other_addresses_do_not_weaken_a_limit() -> None:
    with override_settings(CACHES=shipped.CACHES):
        limits = caches["default"]
        limits.set("login_failed:victim", [1, 2, 3, 4, 5], 300)
        for number in range(700):
            limits.set(f"login_failed:z{number:04}", [1], 300)
        assert limits.get("login_failed:victim") == [1, 2, 3, 4, 5]
