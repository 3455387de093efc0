"""Guesses from many addresses lock out no device that has logged in before."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client

from tenants.identity.known_devices import NAME
from tenants.models import User
from tests.support import factories

pytestmark = pytest.mark.django_db
ANOTHER = "a longer phrase 7"


@pytest.fixture(autouse=True)
def few(settings: Any) -> None:
    """Limits of the shipped kind, small enough to reach."""
    shipped = {"login_failed_anywhere": "20/h/key", "login_failed_known": "7/h/key"}
    assert settings.ACCOUNT_RATE_LIMITS.keys() >= shipped.keys()
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, **shipped}


@pytest.fixture
def user() -> User:
    return factories.make_member(factories.make_tenant(), "viewer")


def log_in(client: Client, email: str, password: str = factories.PASSWORD, **more: Any) -> int:
    return int(client.post("/accounts/login/", {"login": email, "password": password}, **more).status_code)


def guess_from_many_addresses(user: User) -> None:
    """Use up the limit of an account over all addresses."""
    for number in range(20):
        log_in(Client(REMOTE_ADDR=f"2001:db8:{number:x}::1"), user.email, "wrong")
    assert log_in(Client(REMOTE_ADDR="198.51.100.1"), user.email) == 429


def later(device: Client) -> Client:
    """Return the same device without its session, at another address."""
    again = Client(REMOTE_ADDR="198.51.100.2")
    again.cookies[NAME] = device.cookies[NAME].value
    return again


def test_a_device_that_logged_in_before_is_not_locked_out(user: User) -> None:
    device = Client()
    assert log_in(device, user.email) == 302
    cookie = device.cookies[NAME]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert int(cookie["max-age"]) >= 180 * 24 * 3600
    assert bool(cookie["secure"]) == settings.SESSION_COOKIE_SECURE
    guess_from_many_addresses(user)
    again = later(device)
    assert log_in(again, user.email.upper()) == 302
    assert "_auth_user_id" in again.session


def test_a_cookie_of_another_account_or_a_forged_one_counts_as_none(user: User) -> None:
    other = factories.make_member(factories.make_tenant(), "owner")
    device = Client()
    log_in(device, other.email)
    guess_from_many_addresses(user)
    value = device.cookies[NAME].value
    for forged in (value, value[:-1], value + "x", "", "x:y:z", value.replace(":", "."), "W10:1:x"):
        client = Client(REMOTE_ADDR="198.51.100.3")
        client.cookies[NAME] = forged
        assert log_in(client, user.email) == 429, forged


def test_a_wrong_password_makes_no_device_known(user: User) -> None:
    stranger = Client()
    log_in(stranger, user.email, "wrong")
    stranger.get("/accounts/login/")
    assert NAME not in stranger.cookies


def test_a_stolen_cookie_gives_few_tries_from_however_many_addresses(user: User) -> None:
    device = Client()
    log_in(device, user.email)
    for number in range(7):
        thief = later(device)
        assert log_in(thief, user.email, "wrong", REMOTE_ADDR=f"192.0.2.{number}") == 200
    assert log_in(later(device), user.email, REMOTE_ADDR="192.0.2.99") == 429
    assert log_in(Client(REMOTE_ADDR="192.0.2.100"), user.email) == 302, "who has no cookie is not held by it"


def test_the_limit_of_an_address_holds_a_known_device_too(user: User) -> None:
    device = Client()
    log_in(device, user.email)
    assert [log_in(later(device), user.email, "wrong") for _ in range(6)] == [200] * 5 + [429]


def test_another_password_ends_the_cookies_of_all_other_devices(user: User) -> None:
    device, lost = Client(), Client()
    for one in (device, lost):
        log_in(one, user.email)
    new = {"oldpassword": factories.PASSWORD, "password1": ANOTHER, "password2": ANOTHER}
    assert device.post("/accounts/password/change/", new).status_code == 302
    guess_from_many_addresses(user)
    assert log_in(later(lost), user.email, ANOTHER) == 429
    assert log_in(later(device), user.email, ANOTHER) == 302


def test_a_new_password_by_emailed_link_makes_the_device_known(user: User) -> None:
    guess_from_many_addresses(user)
    person = Client(REMOTE_ADDR="198.51.100.4")
    person.post("/accounts/password/reset/", {"email": user.email})
    link = str(mail.outbox[0].body).partition("http://127.0.0.1:8000")[2].split()[0]
    page = person.get(link, follow=True)
    assert NAME not in person.cookies
    person.post(page.redirect_chain[-1][0], {"password1": ANOTHER, "password2": ANOTHER})
    assert log_in(later(person), user.email, ANOTHER) == 302
