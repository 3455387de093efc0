"""Second factors: who must have one, and their secrets at rest, encrypted under a key that the side's secret key gives.

The key before opens them, too, until `manage.py rotate_keys --second-factors` has encrypted them under the new one. Without it
they are unreadable; then `manage.py operator EMAIL --reset-second-factor` removes those of an operator.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from tenants.errors import PermissionDenied
from tenants.identity import sessions
from tenants.models import Tenant

#: In the data of a session in which a second factor was set up.
SET_UP = "second_factor_set_up"
#: What is encrypted of a stored factor: the secret of an app, the seed of recovery codes, or the codes themselves.
SECRETS = frozenset({"secret", "seed", "migrated_codes"})


class SecondFactorMissing(PermissionDenied):
    """A second factor is required here. Set one up under /accounts/2fa/."""

    code = "second_factor_missing"


def is_missing(request: HttpRequest, tenant: Tenant) -> bool:
    """Return whether a tenant requires a second factor that this session has not shown. It asks only if one is required.

    Of a session that the tenant's identity provider opened the provider has asked what the tenant wants it to ask.
    """
    return tenant.second_factor_required and sessions.bound_to(request) is None and not is_proven(request)


def is_proven(request: HttpRequest) -> bool:
    """Return whether this session showed a second factor, or set one up, and the account still has one.

    An account that has one is not enough: a session that was opened before, by the password alone, would inherit it.
    """
    records = get_authentication_records(request, request.user)
    shown = SET_UP in request.session or any(record.get("method") == "mfa" for record in records)
    return shown and is_mfa_enabled(request.user)


def where_to_prove(request: HttpRequest) -> str:
    """Return the page on which a session shows the account's second factor, or on which a first one is set up."""
    if not is_mfa_enabled(request.user):
        return reverse("mfa_index")
    back = request.get_full_path() if request.method == "GET" else "/"
    return f"{reverse('mfa_reauthenticate')}?{urlencode({'next': back})}"


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """allauth's adapter, with encryption of what it stores."""

    def encrypt(self, text: str) -> str:
        """Return a secret as it is stored."""
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return a stored secret; raises InvalidToken under another key."""
        return _cipher().decrypt(encrypted_text.encode()).decode()


@dataclass(frozen=True)
class Resealed:
    """How many second factors were encrypted under the present key, and how many no given key opens."""

    changed: int
    lost: int


def reseal() -> Resealed:
    """Encrypt the second factors of this side under its present secret key. A second time changes nothing more."""
    changed, lost = [], 0
    with transaction.atomic():
        for row in Authenticator.objects.select_for_update(no_key=True).order_by("id"):
            try:
                data = {name: _resealed(value) if name in SECRETS else value for name, value in row.data.items()}
            except InvalidToken:
                lost += 1
                continue
            if data != row.data:
                row.data = data
                changed.append(row)
        Authenticator.objects.bulk_update(changed, ["data"], batch_size=500)
    return Resealed(len(changed), lost)


def _resealed(value: Any) -> Any:
    if isinstance(value, list):
        return [_resealed(one) for one in value]
    try:
        _fernet(settings.SECRET_KEY).decrypt(value)
    except InvalidToken:
        return _cipher().rotate(value).decode()
    return value


def _cipher() -> MultiFernet:
    """Return what encrypts under the present key, and opens under the one before, too."""
    return MultiFernet([_fernet(key) for key in (settings.SECRET_KEY, settings.EXCHEQUER.secret_key_previous) if key])


def _fernet(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"second factor:" + key.encode()).digest()))
