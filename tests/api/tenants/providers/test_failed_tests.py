"""A test of the log-in that fails: its page says what failed and what to check, to those who manage the provider alone."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from tenants.identity.providers import oidc
from tenants.models import Tenant
from tests.api.tenants.providers import steps
from tests.fakes import saml
from tests.fakes.openid import OpenIdProvider
from tests.fakes.saml import SamlProvider
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ADA = {"sub": "ada-1", "email": "ada@ours.example"}
PAGE = "/t/ours/identity-provider/"


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    return client


def leads_to(owner: Client) -> str:
    """Begin a test; return where it leads."""
    found = re.search(r'href="(https://[^"]+)">Go to The provider', text_of(owner.post(f"{PAGE}test/")))
    assert found
    return found[1].replace("&amp;", "&")


def ended(owner: Client, came: Any) -> str:
    """Return the page to which a test that failed leads."""
    assert (came.status_code, came["Location"].startswith(f"{PAGE}?test=")) == (302, True), came.content
    page = text_of(owner.get(came["Location"]))
    assert "The test failed." in page
    return page


def test_a_wrong_issuer_is_named_before_anybody_leaves(owner: Client, idp: OpenIdProvider) -> None:
    idp.publishes = {"issuer": "https://elsewhere.example"}
    answer = owner.post(f"{PAGE}test/")
    page = text_of(answer)
    assert answer.status_code == 422
    assert "The test failed." in page and "publishes another issuer" in page
    assert "/.well-known/openid-configuration must answer" in page


def test_what_the_provider_answers_is_shown_with_what_to_check(
    owner: Client, tenant: Tenant, idp: OpenIdProvider
) -> None:
    idp.change = {"aud": "another-client", "exp": 1}
    page = ended(owner, steps.come_back(owner, idp.log_in(leads_to(owner), **ADA)))
    assert "ID token: aud does not name the client id alone, exp is missing or past." in page
    assert "Check client id and client secret" in page
    real = steps.log_in(Client(), "ours", idp, **ADA)
    assert (real.status_code, "aud" in real.content.decode()) == (403, False), "a stranger reads no cause"
    idp.change = {}
    state = idp.log_in(leads_to(owner), **ADA).partition("state=")[2].partition("&")[0]
    said = {"error": "access_denied", "error_description": "<b>not assigned</b>", "state": state}
    page = ended(owner, owner.get(f"/t/ours/sso/callback/?{urlencode(said)}"))
    assert "access_denied: &lt;b&gt;not assigned&lt;/b&gt;" in page and "assigned to the application" in page
    steps.configure(tenant, idp, client_secret="a wrong one")
    oidc.forget(tenant.id)
    page = ended(owner, steps.come_back(owner, idp.log_in(leads_to(owner), **ADA)))
    assert "invalid_grant" in page
    again = owner.get(f"/t/ours/sso/callback/?{urlencode({'state': state, 'code': 'x'})}")
    assert again.status_code == 403, "a failed test ends its attempt"


def test_an_answer_of_saml_that_another_key_signed_is_explained(db: None) -> None:
    factories.make_tenant("ours", owner="owner@ours.example")
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    form = {"kind": "saml", "name": "The provider", "metadata": saml.metadata(), "enabled": "on"}
    form |= {"default_role": "viewer", "highest_role": "viewer"}
    assert owner.post(f"{PAGE}save/", form).status_code == 302
    asked = SamlProvider.read(leads_to(owner))
    body = {
        "SAMLResponse": saml.posted(SamlProvider(key="other").answer(asked, subject="ada-1", email="ada@ours.example")),
        "RelayState": asked.state,
    }
    page = ended(owner, Client().post("/t/ours/sso/acs/", body))
    assert "Signature validation failed" in page and "Check the entity id and the certificate" in page
