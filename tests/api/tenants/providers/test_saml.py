"""Log-in by a tenant's SAML provider, and answers that log nobody in: wrapped, unsigned, replayed, for others, expired."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from lxml import etree

from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, ExternalIdentity, IdentityProvider, Membership, Tenant, User
from tests.api.tenants.providers import steps
from tests.fakes import saml
from tests.fakes.saml import SamlProvider
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ADA = {"subject": "ada-1", "email": "ada@ours.example", "displayName": "Ada"}
VICTIM = "owner@ours.example"


@pytest.fixture
def tenant(db: None) -> Tenant:
    """The tenant `ours` with a SAML provider, configured on its page by metadata, and a proven domain."""
    made = factories.make_tenant("ours", owner="owner@ours.example")
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    form = {
        "kind": "saml",
        "name": "The provider",
        "metadata": saml.metadata(),
        "default_role": "viewer",
        "highest_role": "viewer",
        "just_in_time": "on",
        "enabled": "on",
    }
    answer = owner.post("/t/ours/identity-provider/save/", form)
    assert answer.status_code == 302, text_of(answer)
    steps.prove(made)
    return made


def post(client: Client, asked: saml.Asked, answer: str) -> Any:
    """Post an answer as the provider's page does: another site's form brings no cookie of ours."""
    return Client().post(urlsplit(asked.acs).path, {"SAMLResponse": answer, "RelayState": asked.state})


def begin(client: Client) -> saml.Asked:
    return SamlProvider.read(client.get("/t/ours/sso/")["Location"])


def log_in(client: Client, provider: SamlProvider, **person: str) -> Any:
    """Log in, and follow the way back in the same browser; return the last response."""
    asked = begin(client)
    answer = post(client, asked, saml.posted(provider.answer(asked, **person)))
    return client.get(answer["Location"]) if answer.status_code == 302 else answer


def logged_in(client: Client) -> str | None:
    me = client.get("/api/v1/me/")
    return str(me.json()["actor"]["label"]) if me.status_code == 200 else None


def test_a_person_is_logged_in_by_a_signed_assertion(tenant: Tenant) -> None:
    client = Client()
    assert log_in(client, SamlProvider(), **ADA)["Location"] == "/t/ours/"
    assert logged_in(client) == "ada@ours.example"
    with tenant_scope(tenant.id):
        assert ExternalIdentity.objects.get().subject == "ada-1"
        entry = AuditEntry.objects.get(action="tenants.session.started", reason__contains="identity provider")
        assert entry.reason == "by the identity provider The provider"
    assert client.get("/accounts/password/change/").status_code == 403


def test_our_metadata_names_what_the_request_names(tenant: Tenant) -> None:
    asked = begin(Client())
    page = Client().get("/t/ours/sso/metadata/")
    root = etree.fromstring(page.content)
    assert root.get("entityID") == asked.audience
    (service,) = root.iterfind(".//{urn:oasis:names:tc:SAML:2.0:metadata}AssertionConsumerService")
    assert service.get("Location") == asked.acs
    assert root[0].get("WantAssertionsSigned") == "true"
    assert Client().get("/t/missing/sso/metadata/").status_code == 404


PAST, FUTURE = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-2, 2))
HOSTILE: dict[str, dict[str, Any]] = {
    "unsigned": {"signs": False},
    "signed by another key": {"key": "other"},
    "signed with SHA-1": {"digest": "sha1"},
    "for another audience": {"change": {"audience": "https://other.example/"}},
    "for no audience": {"change": {"audience": None}},
    "for another recipient": {"change": {"recipient": "https://other.example/acs/"}},
    "for no recipient": {"change": {"recipient": None}},
    "sent elsewhere": {"change": {"destination": "https://other.example/acs/"}},
    "sent to something longer": {"change": {"destination": "http://127.0.0.1:8000/t/ours/sso/acs/x"}},
    "sent nowhere": {"change": {"destination": None}},
    "of another issuer": {"change": {"issuer": "https://evil.example/"}},
    "answers another request": {"change": {"in_response_to": "_other", "subject_in_response_to": "_other"}},
    "answers none": {"change": {"in_response_to": None, "subject_in_response_to": None}},
    "its subject answers none": {"change": {"subject_in_response_to": None}},
    "expired": {"change": {"not_on_or_after": PAST, "subject_end": PAST}},
    "its subject expired": {"change": {"subject_end": PAST}},
    "has no end": {"change": {"subject_end": None}},
    "not valid yet": {"change": {"not_before": FUTURE}},
    "without success": {"change": {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"}},
    "names nobody lastingly": {"change": {"format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}},
}


@pytest.mark.parametrize("how", HOSTILE)
def test_an_answer_that_is_not_right_in_every_part_logs_nobody_in(tenant: Tenant, how: str) -> None:
    client = Client()
    answer = log_in(client, SamlProvider(**HOSTILE[how]), **ADA)
    assert answer.status_code == 403, how
    assert logged_in(client) is None
    assert not User.objects.filter(email="ada@ours.example").exists()


@pytest.mark.parametrize("how", saml.WRAPPINGS)
def test_a_wrapped_signature_names_nobody_else(tenant: Tenant, how: str) -> None:
    client, provider = Client(), SamlProvider()
    asked = begin(client)
    forged = saml.wrapped(provider.answer(asked, **ADA), how, VICTIM)
    answer = post(client, asked, saml.posted(forged))
    if answer.status_code == 302:
        client.get(answer["Location"])
    assert logged_in(client) in (None, "ada@ours.example"), how
    assert logged_in(client) != VICTIM


def test_an_assertion_is_accepted_once(tenant: Tenant) -> None:
    client, provider = Client(), SamlProvider()
    asked = begin(client)
    answer = saml.posted(provider.answer(asked, **ADA))
    first = post(client, asked, answer)
    assert first.status_code == 302
    assert post(client, asked, answer).status_code == 403, "the attempt is answered"
    assert client.get(first["Location"]).status_code == 302
    assert client.get(first["Location"]).status_code == 403, "and used"

    second = begin(client)
    provider.change = {"assertion_id": provider.assertion_id}
    again = post(client, second, saml.posted(provider.answer(second, **ADA)))
    assert again.status_code == 403
    assert "used before" in text_of(again), "the id of an assertion is remembered"


def test_an_answer_logs_in_the_browser_that_began_alone(tenant: Tenant) -> None:
    attacker, victim = Client(), Client()
    asked = begin(attacker)
    answer = post(attacker, asked, saml.posted(SamlProvider().answer(asked, **ADA)))
    victim.get("/t/ours/sso/")
    assert victim.get(answer["Location"]).status_code == 403
    assert logged_in(victim) is None
    assert attacker.get(answer["Location"]).status_code == 302


def test_an_answer_without_a_request_is_refused(tenant: Tenant) -> None:
    asked = begin(Client())
    for state in ("", "x", "a" * 10_000):
        answer = Client().post(
            "/t/ours/sso/acs/", {"SAMLResponse": saml.posted(SamlProvider().answer(asked, **ADA)), "RelayState": state}
        )
        assert answer.status_code == 403
    assert Client().get("/t/ours/sso/acs/").status_code == 405


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)
HOSTILE_XML = {
    "entities that expand": f"{BOMB}]><x>&j;</x>".encode(),
    "an entity that is a file": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "an external document type": b'<!DOCTYPE x SYSTEM "https://evil.example/x.dtd"><x/>',
    "UTF-16": f"{BOMB}]><x>&j;</x>".encode("utf-16"),
    "UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-<x/>',
    "no XML": b"not xml at all",
    "nothing": b"",
    "another document": b"<x/>",
    "deep nesting": b"<a>" * 50_000 + b"</a>" * 50_000,
    "a comment in the name": b"<x>owner@ours.example<!-- -->.evil.example</x>",
    "too much": b"<x>" + b"y" * 300_000 + b"</x>",
    "a NUL": b"<x>\x00</x>",
}


@pytest.mark.parametrize("how", HOSTILE_XML)
def test_hostile_xml_is_refused(tenant: Tenant, how: str) -> None:
    asked = begin(Client())
    answer = post(Client(), asked, base64.b64encode(HOSTILE_XML[how]).decode())
    assert answer.status_code == 403, how
    assert "root:" not in text_of(answer)
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    form = {"kind": "saml", "name": "x", "default_role": "viewer", "highest_role": "viewer"}
    form["metadata"] = HOSTILE_XML[how].decode("latin-1").replace("\x00", "") or "<x/>"
    assert owner.post("/t/ours/identity-provider/save/", form).status_code == 422, how
    with tenant_scope(tenant.id):
        assert IdentityProvider.objects.get().issuer == saml.ISSUER


def test_a_weak_certificate_is_refused(tenant: Tenant) -> None:
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    body = {"kind": "saml", "name": "x", "issuer": "e", "sign_in_url": "https://idp.example/sso"}
    for wrong in ([], ["nothing"], ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]):
        answer = owner.put("/api/v1/identity-provider/", body | {"certificates": wrong}, "application/json")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert "certificates" in answer.json()["fields"]


def test_the_owner_of_another_tenant_is_asserted_in_vain(tenant: Tenant) -> None:
    theirs = factories.make_tenant("theirs", owner="boss@theirs.example")
    client = Client()
    assert log_in(client, SamlProvider(), subject="b", email="boss@theirs.example").status_code == 403
    assert log_in(client, SamlProvider(), subject="boss@theirs.example").status_code == 403
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user__email="boss@theirs.example").exists()
    assert theirs.id != tenant.id
