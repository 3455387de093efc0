"""A passkey as second factor, with Chromium's own authenticator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.mfa.models import Authenticator
from playwright.sync_api import Page, expect

from tests.browser.actions import log_in
from tests.browser.chromium import Watched, watch
from tests.browser.world import OWNER
from tests.support.factories import PASSWORD

if TYPE_CHECKING:
    from tests.browser.world import World

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def give_authenticator(page: Page) -> None:
    """Give the tab an authenticator, as a laptop with a fingerprint reader has one."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})


def enter_password(page: Page, home: str, email: str) -> None:
    page.goto(f"{home}/accounts/login/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def add_key(page: Page, watched: Watched) -> None:
    """Add a passkey, from the page of second factors to that of the recovery codes."""
    page.get_by_role("link", name="Add a key").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    assert not watched.axe()
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Add key").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    assert not watched.axe()


def use_key(page: Page, watched: Watched) -> None:
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    assert not watched.axe()
    page.get_by_role("button", name="Use a passkey or security key").click()


def test_a_passkey_is_added_and_asked_for_at_the_next_log_in(page: Page, world: World, site: str) -> None:
    # Browsers bind a passkey to a name; an address has none.
    home = site.replace("127.0.0.1", "localhost")
    give_authenticator(page)
    enter_password(page, home, OWNER)
    page.wait_for_url("**/t/**")
    with watch(page) as watched:
        page.goto(f"{home}/t/vision/settings/")
        page.get_by_role("link", name="Second factor").click()
        add_key(page, watched)
        page.goto(f"{home}/accounts/2fa/webauthn/")
        expect(page.get_by_text("Laptop")).to_be_visible()
        assert not watched.axe()
        page.goto(f"{home}/t/vision/")
        page.get_by_role("button", name="Log out").click()
        enter_password(page, home, OWNER)
        use_key(page, watched)
        page.wait_for_url("**/t/**")
    assert not watched.complaints
    assert Authenticator.objects.filter(type="webauthn", last_used_at__isnull=False).exists()


def test_a_wrong_code_opens_nothing(page: Page, world: World) -> None:
    log_in(page, OWNER)
    page.goto("/accounts/2fa/totp/activate/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    with watch(page) as watched:
        page.get_by_label("Authenticator code").fill("000000")
        page.get_by_role("button", name="Set up").click()
        expect(page.get_by_text("Incorrect code")).to_be_visible()
        assert not watched.axe()
    assert not watched.complaints
    assert Authenticator.objects.count() == 0
