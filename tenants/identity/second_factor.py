"""Second factors: who must have one, and their secrets at rest, encrypted under a key that the side's secret key gives.

A new secret key makes them unreadable; then `manage.py operator EMAIL --reset-second-factor` removes them.
"""

from __future__ import annotations

import base64
import hashlib

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.utils import is_mfa_enabled
from cryptography.fernet import Fernet
from django.conf import settings
from django.http import HttpRequest

from tenants.errors import PermissionDenied
from tenants.models import Tenant


class SecondFactorMissing(PermissionDenied):
    """A second factor is required here. Set one up under /accounts/2fa/."""

    code = "second_factor_missing"


def is_missing(request: HttpRequest, tenant: Tenant) -> bool:
    """Return whether a tenant requires a second factor that the session's person has not. It asks only if one is required."""
    return tenant.second_factor_required and not is_mfa_enabled(request.user)


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """allauth's adapter, with encryption of what it stores."""

    def encrypt(self, text: str) -> str:
        """Return a secret as it is stored."""
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return a stored secret; raises InvalidToken under another key."""
        return _cipher().decrypt(encrypted_text.encode()).decode()


def _cipher() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"second factor:" + settings.SECRET_KEY.encode()).digest()))
