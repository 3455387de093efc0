"""Accounts: nobody takes an address that is meant for another, nobody is made a member unasked, limits are not pushed out."""

import pytest
from django.core.cache import caches
from django.test import Client, override_settings

from config import settings as shipped
from tenants.models import Membership, Tenant, User
from tenants.scoping import tenant_scope
from tests import factories

pytestmark = pytest.mark.django_db
CLOSED = ("email/", "confirm-email/", "confirm-email/abc/", "signup/", "login/code/", "login/code/confirm/")


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


def test_someone_with_an_account_is_invited_not_added() -> None:
    client, tenant = key_client()
    stranger = factories.make_member(factories.make_tenant(), "owner", "bob@other.example")
    User.objects.filter(id=stranger.id).update(name="Robert Secret")
    body = {"email": "Bob@other.example", "role": "viewer", "name": "x"}
    answer = client.post("/api/v1/members/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "has_account")
    assert b"Secret" not in answer.content
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user=stranger).exists()
    new = client.post("/api/v1/members/", body | {"email": "new@other.example"}, content_type="application/json")
    assert (new.status_code, new.json()["role"]) == (201, "viewer")
    again = client.post("/api/v1/members/", body | {"email": "new@other.example"}, content_type="application/json")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_an_address_that_no_mail_server_takes_is_refused() -> None:
    client, _ = key_client()
    host = ".".join(["a" * 60] * 4)
    answer = client.post(
        "/api/v1/members/", {"email": f"ana@{host}.example", "role": "viewer"}, content_type="application/json"
    )
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["email"])


def test_a_flood_of_other_addresses_loosens_nobody_elses_limit() -> None:
    with override_settings(CACHES=shipped.CACHES):
        limits = caches["default"]
        limits.set("login_failed:victim", [1, 2, 3, 4, 5], 300)
        for number in range(700):
            limits.set(f"login_failed:z{number:04}", [1], 300)
        assert limits.get("login_failed:victim") == [1, 2, 3, 4, 5]
