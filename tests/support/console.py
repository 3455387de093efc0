"""Log-ins to the operators' console, and second factors, for tests."""

from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.test import Client

from tests.support import factories

ROOT = "root@platform.example"


def log_in(email: str = ROOT, **more: Any) -> Client:
    client = Client()
    given = {"login": email, "password": factories.PASSWORD, **more}
    assert client.post("/accounts/login/", given).status_code == 302
    return client


def code_of(secret: str) -> str:
    """Return the code that an authenticator app shows now."""
    counter = next(iter(yield_hotp_counters_from_time()))
    return str(format_hotp_value(hotp_value(secret, counter)))


def set_up_second_factor(client: Client) -> str:
    """Set up an authenticator app as a person does; return its secret."""
    page = "/accounts/2fa/totp/activate/"
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD, "next": page})
    secret = str(client.get(page).context["form"].secret)
    assert client.post(page, {"code": code_of(secret)}).status_code == 302
    return secret
