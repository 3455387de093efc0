"""A cookie by which a device is known to have logged in before.

Guesses from ten addresses or more (or as many IPv6 networks) use up the limit that an account has over all addresses, and
would lock its owner out. A known device is not held by that limit; it has one of its own, so a stolen cookie gives few
tries, and the limit of account and client address stays. The cookie names the account and the device, and is signed
together with a digest of the stored password: a new password ends it. It logs nobody in; the password is still checked.
A device is known to one account, the last that logged in on it.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

from tenants.models import User

NAME = f"{settings.SESSION_COOKIE_NAME}-device"
SALT = "exchequer.known-device"
#: Browsers keep no cookie for longer than 400 days.
LIFE_S = 365 * 24 * 3600


def remember(request: HttpRequest, user: Any) -> None:
    """Have the response make the device known to an account whose password was just given or chosen on it."""
    request.known_device = _signed(user, device_of(request, user.email) or secrets.token_hex(16))  # type: ignore[attr-defined]


def mark(request: HttpRequest, response: HttpResponse) -> None:
    """Set the cookie on a response if `remember` was called for its request."""
    if value := getattr(request, "known_device", ""):
        response.set_cookie(
            NAME, value, max_age=LIFE_S, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Strict"
        )


def device_of(request: HttpRequest, email: str) -> str | None:
    """Return the id of the requesting device if it is known to the account with this address; None for any other."""
    try:
        user_id, device, proof = signing.loads(request.COOKIES.get(NAME, ""), salt=SALT, max_age=LIFE_S)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    user = User.objects.filter(id=user_id, is_active=True).first()
    if user is None or user.email.casefold() != email.casefold() or not constant_time_compare(proof, _proof(user)):
        return None
    return str(device)


def _signed(user: Any, device: str) -> str:
    return signing.dumps([str(user.pk), device, _proof(user)], salt=SALT)


def _proof(user: Any) -> str:
    return salted_hmac(SALT, user.password, algorithm="sha256").hexdigest()[:32]
