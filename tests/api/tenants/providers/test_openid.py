"""Log-in by a tenant's OpenID provider: what it may do, and what hostile answers may not."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from tenants.identity.providers import outbound
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, ExternalIdentity, LogInAttempt, Membership, Session, Tenant, User
from tenants.outbound.client import Answer
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider, key
from tests.support import factories

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db
ADA = {"sub": "ada-1", "email": "ada@ours.example", "name": "Ada"}


def code_of(response: Any) -> int:
    return int(response.status_code)


def members(tenant: Tenant) -> set[str]:
    with tenant_scope(tenant.id):
        return set(Membership.objects.values_list("user__email", flat=True))


def test_a_person_becomes_a_member_at_the_first_log_in_and_is_the_same_at_the_next(
    tenant: Tenant, idp: OpenIdProvider
) -> None:
    first, again = Client(), Client()
    came = steps.log_in(first, "ours", idp, **ADA)
    assert (came.status_code, came["Location"]) == (302, "/t/ours/")
    assert first.get("/t/ours/").status_code == 200
    me = first.get("/api/v1/me/").json()
    assert (me["tenant"]["slug"], me["actor"]["label"]) == ("ours", "ada@ours.example")
    steps.log_in(again, "ours", idp, **ADA | {"email": "renamed@ours.example"})
    assert again.get("/api/v1/me/").json()["actor"]["label"] == "ada@ours.example", "known by subject, not by address"
    account = User.objects.get(email="ada@ours.example")
    assert not account.has_usable_password()
    with tenant_scope(tenant.id):
        assert ExternalIdentity.objects.get().user_id == account.id
        entries = list(AuditEntry.objects.order_by("seq").values_list("action", "reason"))
    by = "by the identity provider The provider"
    assert entries.count(("tenants.session.started", by)) == 2
    assert [action for action, _ in entries].count("tenants.member.added") == 1
    assert [action for action, _ in entries].count("tenants.external_identity.linked") == 1


def test_a_session_begins_anew_and_holds_nothing_of_the_one_before(tenant: Tenant, idp: OpenIdProvider) -> None:
    client = Client()
    other = factories.make_tenant("other")
    person = factories.make_member(other, "owner", "ada@ours.example")
    client.post("/accounts/login/", {"login": person.email, "password": factories.PASSWORD})
    before = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    steps.log_in(client, "ours", idp, **ADA)
    after = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    assert before != after
    assert not Session.objects.filter(session_key=before).exists()
    row = Session.objects.get(session_key=after)
    assert (row.bound_tenant, row.user_id) == (tenant.id, person.id)
    data = row.get_decoded()
    assert "account_authentication_methods" not in data


HOSTILE: dict[str, dict[str, Any]] = {
    "another nonce": {"change": {"nonce": "of another log-in"}},
    "no nonce": {"change": {"nonce": None}},
    "another audience": {"change": {"aud": "another client"}},
    "another party of several": {"change": {"aud": ["exchequer", "other"], "azp": "other"}},
    "several audiences without a party": {"change": {"aud": ["exchequer", "other"]}},
    "another issuer": {"change": {"iss": "https://evil.example"}},
    "expired": {"change": {"exp": int(time.time()) - 3600}},
    "no end": {"change": {"exp": None}},
    "an end that is no number": {"change": {"exp": "tomorrow"}},
    "an end beyond all calendars": {"change": {"exp": 1e300}},
    "issued long ago": {"change": {"iat": int(time.time()) - 7200}},
    "issued tomorrow": {"change": {"iat": int(time.time()) + 86400}},
    "no subject": {"change": {"sub": None}},
    "an endless subject": {"change": {"sub": "x" * 5000}},
    "unsigned": {"header": {"alg": "none"}},
    "signed with the public key as a secret": {"header": {"alg": "HS256"}},
    "signed by another key": {"signs_with": key("other")},
    "an unknown key id": {"header": {"kid": "two"}},
    "an unverified address": {"change": {"email_verified": False}},
    "an address that nobody verified": {"change": {"email_verified": None}},
    "an address beside the domain": {"change": {"email": "ada@ours.example.evil.example"}},
    "an address of a lower domain": {"change": {"email": "ada@sub.ours.example"}},
    "an address that is two": {"change": {"email": '"a@evil.example"@ours.example'}},
    "no address": {"change": {"email": None}},
    "another domain": {"change": {"email": "ada@other.example"}},
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_answer_logs_nobody_in(tenant: Tenant, idp: OpenIdProvider, how: str) -> None:
    for name, value in HOSTILE[how].items():
        setattr(idp, name, value)
    client = Client()
    assert code_of(steps.log_in(client, "ours", idp, **ADA)) == 403
    assert client.get("/api/v1/me/").status_code == 401
    assert members(tenant) == {"owner@ours.example"}
    assert not User.objects.filter(email__startswith="ada").exists()


def test_an_answer_belongs_to_the_browser_that_began_and_is_taken_once(tenant: Tenant, idp: OpenIdProvider) -> None:
    mine, victim = Client(), Client()
    url = idp.log_in(mine.get("/t/ours/sso/")["Location"], **ADA)
    assert code_of(steps.come_back(victim, url)) == 403, "a link of another's log-in logs nobody in"
    victim.get("/t/ours/sso/")
    assert code_of(steps.come_back(victim, url)) == 403, "nor with a log-in of one's own begun"
    assert victim.get("/api/v1/me/").status_code == 401
    assert code_of(steps.come_back(mine, url)) == 302
    assert code_of(steps.come_back(mine, url)) == 403
    assert code_of(mine.get("/t/ours/sso/callback/?code=x&state=y")) == 403


def test_states_of_two_log_ins_are_not_swapped(tenant: Tenant, idp: OpenIdProvider) -> None:
    client = Client()
    first, second = (client.get("/t/ours/sso/")["Location"] for _ in range(2))
    one, two = idp.log_in(first, **ADA), idp.log_in(second, sub="bob", email="bob@ours.example")
    crossed = one.split("code=")[0] + "code=" + two.split("code=")[1].split("&")[0] + "&" + one.split("&", 1)[1]
    assert code_of(steps.come_back(client, crossed)) == 403, "the verifier is that of the other log-in"
    assert client.get("/api/v1/me/").status_code == 401


def test_a_log_in_ends_after_ten_minutes(tenant: Tenant, idp: OpenIdProvider) -> None:
    client = Client()
    url = idp.log_in(client.get("/t/ours/sso/")["Location"], **ADA)
    with tenant_scope(tenant.id):
        attempt = LogInAttempt.objects.get()
        assert (attempt.expires_at - attempt.created_at).total_seconds() <= 601
        LogInAttempt.objects.update(expires_at=attempt.created_at)
    assert code_of(steps.come_back(client, url)) == 403


def test_one_tenants_answer_is_none_of_anothers(tenant: Tenant, idp: OpenIdProvider) -> None:
    theirs = factories.make_tenant("theirs")
    steps.configure(theirs, idp)
    steps.prove(theirs, "theirs.example")
    client = Client()
    url = idp.log_in(client.get("/t/theirs/sso/")["Location"], **ADA)
    assert code_of(steps.come_back(client, url.replace("/t/theirs/", "/t/ours/"))) == 403
    assert code_of(steps.come_back(client, url)) == 403, "ours.example is not proven by them"
    steps.log_in(Client(), "ours", idp, **ADA)
    there = Client()
    assert code_of(steps.log_in(there, "theirs", idp, **ADA | {"email": "ada@theirs.example"})) == 302
    assert there.get("/api/v1/me/").json()["actor"]["label"] == "ada@theirs.example", (
        "the same subject is another person"
    )


@pytest.mark.parametrize(
    "where",
    [
        "https://evil.example/t/ours/",
        "//evil.example/t/ours/",
        "/t/ours/\\evil.example",
        "/t/other/",
        "/accounts/password/change/",
        "/t/ours/sso/",
        "javascript:alert(1)",
        "/t/ours/../../t/other/",
    ],
)
def test_no_log_in_leads_out_of_the_tenant(tenant: Tenant, idp: OpenIdProvider, where: str) -> None:
    came = steps.log_in(Client(), "ours", idp, next_page=where, **ADA)
    assert came["Location"] == "/t/ours/"


def test_a_log_in_leads_back_to_the_page(tenant: Tenant, idp: OpenIdProvider) -> None:
    assert steps.log_in(Client(), "ours", idp, next_page="/t/ours/jobs/", **ADA)["Location"] == "/t/ours/jobs/"


def test_another_subject_does_not_inherit_an_address(tenant: Tenant, idp: OpenIdProvider) -> None:
    steps.log_in(Client(), "ours", idp, **ADA)
    assert code_of(steps.log_in(Client(), "ours", idp, **ADA | {"sub": "ada-2"})) == 409


def test_a_provider_without_email_verified_is_trusted_only_if_an_owner_says_so(
    tenant: Tenant, idp: OpenIdProvider
) -> None:
    idp.change = {"email_verified": None}
    steps.configure(tenant, idp, trusts_email=True)
    assert code_of(steps.log_in(Client(), "ours", idp, **ADA)) == 302
    idp.change = {"email_verified": False}
    assert code_of(steps.log_in(Client(), "ours", idp, sub="bob", email="bob@ours.example")) == 403


def test_an_unknown_organisation_and_one_without_a_provider_look_the_same(tenant: Tenant) -> None:
    factories.make_tenant("bare")
    answers = [Client().get(f"/t/{slug}/sso/") for slug in ("bare", "missing")]
    assert [code_of(one) for one in answers] == [404, 404]
    texts = {str(one.content).replace(one["X-Request-Id"], "") for one in answers}
    assert len({len(text) for text in texts}) == 1


def test_an_address_leads_to_its_domains_provider_whoever_has_an_account(tenant: Tenant) -> None:
    factories.make_member(tenant, "viewer", "known@ours.example")
    pages = [
        Client().post("/accounts/provider/", {"organisation": who, "next": "/t/ours/jobs/"})
        for who in ("known@ours.example", "unknown@ours.example", "OURS")
    ]
    assert all("/t/ours/sso/?next=%2Ft%2Fours%2Fjobs%2F" in page.content.decode() for page in pages)
    asked = Client().get("/accounts/provider/?next=/t/ours/jobs/").content.decode()
    assert 'name="next" value="/t/ours/jobs/"' in asked and "answers for this" not in asked
    assert "/accounts/provider/" in Client().get("/accounts/login/").content.decode()
    strangers = [Client().post("/accounts/provider/", {"organisation": who}) for who in ("a@b.example", "nobody", "")]
    assert [code_of(page) for page in strangers] == [422, 422, 422]


def test_a_provider_that_does_not_answer_or_lies_is_named_and_logs_nobody_in(
    tenant: Tenant, idp: OpenIdProvider
) -> None:
    from tenants.identity.providers import oidc

    for published in ({"issuer": "https://other.example"}, {"token_endpoint": "http://plain.example/token"}):
        oidc._discovered.clear()
        idp.publishes = published
        answer = Client().get("/t/ours/sso/")
        assert code_of(answer) == 502
        assert "identity provider" in answer.content.decode()
    began = Client()
    idp.publishes = {}
    assert code_of(began.get("/t/ours/sso/callback/?error=access_denied&state=x")) == 403


def test_log_ins_are_counted_by_client_address(tenant: Tenant, idp: OpenIdProvider, settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | {"provider_log_in": "3/m/ip"}
    assert [code_of(Client().get("/t/ours/sso/")) for _ in range(4)] == [302, 302, 302, 429]
    assert code_of(Client().post("/accounts/provider/", {"organisation": "ours"})) == 429


@pytest.mark.filterwarnings("ignore::Warning")
def test_another_implementation_of_openid_is_understood(
    tenant: Tenant, idp: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():  # of Authlib about modules of its own, which it turns on where they are turned off
        import authlib.deprecate  # noqa: F401

        warnings.simplefilter("ignore")
        from oidc_provider_mock import User as Person
        from oidc_provider_mock import app

    claims = {"email": "ada@ours.example", "email_verified": True, "name": "Ada"}
    there = app(require_nonce=True, user_claims=[Person(sub="ada", claims=claims)]).test_client()

    def send(_: Any, method: str, url: str, *, headers: Any = None, body: bytes = b"") -> Answer:
        found = there.open(url.removeprefix(idp.issuer), method=method, base_url=idp.issuer, headers=headers, data=body)
        return Answer(found.status_code, (), found.data)

    monkeypatch.setattr(outbound, "send", send)
    client = Client()
    url = client.get("/t/ours/sso/")["Location"]
    assert url.startswith(f"{idp.issuer}/oauth2/authorize?")
    back = there.post(url.removeprefix(idp.issuer), base_url=idp.issuer, data={"sub": "ada"}).headers["Location"]
    assert steps.come_back(client, back)["Location"] == "/t/ours/"
    assert client.get("/api/v1/me/").json()["actor"]["label"] == "ada@ours.example"
