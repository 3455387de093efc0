"""Second factors of people: set up, asked for at each log-in, required by an organisation, recorded."""

import io
from contextlib import nullcontext
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from tenants.identity.second_factor import SecondFactorAdapter
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tenants.operators import grants
from tests.support import factories
from tests.support.console import ROOT, set_up_second_factor
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
EMAIL = "ada@ours.example"


def log_in(client: Client) -> Any:
    return client.post("/accounts/login/", {"login": EMAIL, "password": factories.PASSWORD})


@pytest.fixture
def tenant() -> Tenant:
    made = factories.make_tenant("ours")
    factories.make_member(made, "owner", EMAIL)
    return made


def actions(tenant: Tenant) -> list[tuple[str, str]]:
    with tenant_scope(tenant.id):
        return list(AuditEntry.objects.order_by("seq").values_list("action", "reason"))


@pytest.mark.django_db(transaction=True)
def test_a_second_factor_is_asked_for_at_each_log_in_and_recorded(tenant: Tenant) -> None:
    client = Client()
    log_in(client)
    secret = set_up_second_factor(client)
    assert ("tenants.second_factor.changed", "totp activated") in actions(tenant)
    stored = Authenticator.objects.get(type="totp")
    assert secret not in str(stored.data)

    again = Client()
    assert log_in(again)["Location"].startswith("/accounts/2fa/authenticate/")
    started = [name for name, _ in actions(tenant)].count("tenants.session.started")
    assert again.get("/t/ours/").status_code == 302, "a password alone opens nothing"
    assert again.get("/api/v1/jobs/").status_code == 401
    assert "incorrect" in text_of(again.post("/accounts/2fa/authenticate/", {"code": "000000"})).lower()
    recovery = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
    viewed = "tenants.recovery_codes.viewed"
    assert again.get("/accounts/2fa/recovery-codes/").status_code == 302
    before = [name for name, _ in actions(tenant)].count(viewed)
    for place in ("", "download/"):
        assert recovery in client.get(f"/accounts/2fa/recovery-codes/{place}").content.decode()
    assert [name for name, _ in actions(tenant)].count(viewed) == before + 2, "each time that they are shown"
    assert again.post("/accounts/2fa/authenticate/", {"code": recovery}).status_code == 302
    assert again.get("/t/ours/").status_code == 200
    assert [name for name, _ in actions(tenant)].count("tenants.session.started") == started + 1
    third = Client()
    log_in(third)
    assert third.post("/accounts/2fa/authenticate/", {"code": recovery}).status_code == 200, "a code works once"


@pytest.mark.parametrize("side", ["people", "operators"])
def test_a_new_secret_key_loses_no_second_factor(side: str, tenant: Tenant, console: Any, as_control: Any) -> None:
    email = EMAIL if side == "people" else ROOT
    with as_control():
        grants.grant(ROOT, "platform_admin", password=factories.PASSWORD)

    def codes() -> list[str]:
        return list(Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes())

    def comes_in(code: str) -> bool:
        client = Client()
        client.post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
        return bool(client.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302)

    def under(key: str, previous: str) -> Any:
        env = settings.EXCHEQUER.model_copy(update={"secret_key_previous": previous})
        return override_settings(SECRET_KEY=key, EXCHEQUER=env)

    with console() if side == "operators" else nullcontext():
        client, old, new = Client(), settings.SECRET_KEY, "n" * 40
        client.post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
        secret = set_up_second_factor(client)
        with under(new, ""), pytest.raises(CommandError, match="2 second factors open under neither secret key"):
            call_command("rotate_keys", "--second-factors")
        with under(new, old):
            assert comes_in(codes()[0])
            said = io.StringIO()
            for number in (2, 0):
                call_command("rotate_keys", "--second-factors", stdout=said)
                assert said.getvalue().splitlines()[-1].startswith(f"{number} second factors are encrypted")
        with under(new, ""):
            assert comes_in(codes()[0])
            assert SecondFactorAdapter().decrypt(Authenticator.objects.get(type="totp").data["secret"]) == secret
    elsewhere = settings.EXCHEQUER.model_copy(update={"db_role": "control"})
    with override_settings(EXCHEQUER=elsewhere), pytest.raises(CommandError, match="each side has its own secret key"):
        call_command("rotate_keys", "--second-factors")


def test_codes_cannot_be_guessed(tenant: Tenant) -> None:
    client = Client()
    log_in(client)
    set_up_second_factor(client)
    guesser = Client()
    log_in(guesser)
    said = [text_of(guesser.post("/accounts/2fa/authenticate/", {"code": f"{n:06}"})) for n in range(8)]
    assert "too many" in said[-1].lower()


@pytest.mark.django_db(transaction=True)
def test_an_organisation_requires_a_second_factor_of_people_and_not_of_keys(tenant: Tenant) -> None:
    key = factories.make_api_key(tenant)
    client = Client()
    log_in(client)
    url = "/api/v1/organisation/"
    refused = client.patch(url, {"second_factor_required": "maybe"}, content_type="application/json")
    assert refused.status_code == 400
    changed = client.patch(url, {"second_factor_required": True}, content_type="application/json")
    assert changed.json()["second_factor_required"] is True
    for path in ("/t/ours/", "/t/ours/jobs/", "/t/ours/members/"):
        assert client.get(path)["Location"] == "/accounts/2fa/"
    answer = client.get("/api/v1/jobs/")
    assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_missing")
    assert client.post("/t/ours/settings/", {"name": "Eve"}).status_code == 302
    assert Client().get("/api/v1/jobs/", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    set_up_second_factor(client)
    assert client.get("/t/ours/jobs/").status_code == 200
    assert client.get("/api/v1/jobs/").status_code == 200
    with tenant_scope(tenant.id):
        (entry,) = AuditEntry.objects.filter(action="tenants.tenant.changed")
        assert entry.changes == {"second_factor_required": [False, True]}


def test_other_organisations_of_a_person_are_not_concerned(tenant: Tenant) -> None:
    other = factories.make_tenant("theirs", owner=EMAIL)
    with tenant_scope(tenant.id):
        Tenant.objects.filter(id=tenant.id).update(second_factor_required=True)
    client = Client()
    log_in(client)
    assert client.get("/t/ours/").status_code == 302
    assert client.get(f"/t/{other.slug}/").status_code == 200
