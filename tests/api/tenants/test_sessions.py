"""A person's own sessions: where they are logged in, and how they log out there."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Session, Tenant
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def browsers(tenant: Tenant, *agents: str) -> list[Client]:
    """Return one person's browsers, each logged in by the form."""
    user, found = factories.make_member(tenant, "viewer"), []
    for agent in agents:
        client = Client(headers={"User-Agent": agent}, REMOTE_ADDR="192.0.2.7")
        form = {"login": user.email, "password": factories.PASSWORD}
        assert client.post("/accounts/login/", form).status_code == 302
        found.append(client)
    return found


def rows(client: Client) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/sessions/")
    assert answer.status_code == 200
    return list(answer.json()["results"])


def test_sessions_are_listed_with_their_log_in_and_without_their_cookie() -> None:
    tenant = factories.make_tenant()
    work, home = browsers(tenant, "Work", "Home")
    browsers(tenant, "Somebody else")
    found = rows(work)
    assert [(row["user_agent"], row["ip"], row["current"]) for row in found] == [
        ("Home", "192.0.2.7", False),
        ("Work", "192.0.2.7", True),
    ]
    assert not {row["id"] for row in found} & set(Session.objects.values_list("session_key", flat=True))
    page = text_of(home.get(f"/t/{tenant.slug}/settings/"))
    assert "this browser" in page and "Log out everywhere else" in page
    assert rows(work)[0]["created_at"] == found[0]["created_at"], "the time of the log-in stays"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "Unknown"),
    ],
)  # fmt: skip
def test_a_browser_is_named_as_people_call_it(agent: str, words: str) -> None:
    tenant = factories.make_tenant()
    (client,) = browsers(tenant, agent)
    assert f'<td class="name">{words}</td>' in text_of(client.get(f"/t/{tenant.slug}/settings/"))


def test_a_session_is_ended_from_another_browser_at_its_next_request() -> None:
    tenant = factories.make_tenant()
    work, home, phone = browsers(tenant, "Work", "Home", "Phone")
    lost = next(row["id"] for row in rows(work) if row["user_agent"] == "Phone")
    assert work.post(f"/t/{tenant.slug}/settings/sign-out/", {"session": lost}).status_code == 302
    assert phone.get("/api/v1/me/").status_code == 401
    assert home.get("/api/v1/me/").status_code == 200
    assert work.delete("/api/v1/sessions/").status_code == 204
    assert home.get("/api/v1/me/").status_code == 401
    assert [row["user_agent"] for row in rows(work)] == ["Work"]
    assert work.delete("/api/v1/sessions/").status_code == 204, "with no other it changes nothing"
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.session.ended").count() == 2


def test_nobody_ends_anothers_session_and_keys_have_none() -> None:
    tenant = factories.make_tenant()
    (work,) = browsers(tenant, "Work")
    (other,) = browsers(tenant, "Other")
    theirs = rows(other)[0]["id"]
    assert work.delete(f"/api/v1/sessions/{theirs}/").status_code == 404
    assert other.get("/api/v1/me/").status_code == 200
    key = {"Authorization": f"Bearer {factories.make_api_key(tenant, ['tenant.view'])}"}
    assert Client().get("/api/v1/sessions/", headers=key).status_code == 404
    assert Client().delete("/api/v1/sessions/", headers=key).status_code == 404


def test_a_log_in_starts_a_session_of_its_own_whose_cookie_scripts_and_other_sites_do_not_get() -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")
    browser = Client()
    browser.get("/accounts/login/")
    planted = "p" * 32
    browser.cookies[settings.SESSION_COOKIE_NAME] = planted
    browser.post("/accounts/login/", {"login": user.email, "password": factories.PASSWORD})
    cookie = browser.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie.value not in ("", planted)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = planted
    assert thief.get("/api/v1/me/").status_code == 401
    first = cookie.value
    browser.post("/accounts/login/", {"login": user.email, "password": factories.PASSWORD})
    browser.post("/accounts/logout/")
    thief.cookies[settings.SESSION_COOKIE_NAME] = first
    assert thief.get("/api/v1/me/").status_code == 401, "a session that was logged out opens nothing"
