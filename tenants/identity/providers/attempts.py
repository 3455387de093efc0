"""Log-ins by a provider, from the redirect until they come back: bound to the browser that began, and used once.

State, nonce and verifier are ours, not the browser's: it holds one random cookie, and the table its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from tenants.clock import DatabaseNow, now
from tenants.errors import PermissionDenied
from tenants.models import IdentityProvider, LogInAttempt

LASTS = timedelta(minutes=10)
LONGEST_NEXT = 500
SECRET_BYTES = 32


class AttemptInvalid(PermissionDenied):
    """This log-in was not begun in this browser, has expired, or was used before. Begin again."""

    code = "log_in_invalid"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A new attempt. `state` goes through the provider; `request_id` is the id of a SAML request."""

    id: UUID
    state: str
    nonce: str
    verifier: str

    @property
    def request_id(self) -> str:
        """Return the nonce as XML takes it for an id."""
        return f"_{self.nonce}"


def fresh_secret() -> str:
    """Return 256 random bits for the browser's cookie."""
    return secrets.token_urlsafe(SECRET_BYTES)


def begin(provider: IdentityProvider, *, browser: str, next_page: str = "", is_test: bool = False) -> Begun:
    """Store an attempt of a browser, known by the secret in its cookie."""
    state, nonce, verifier = secrets.token_urlsafe(SECRET_BYTES), secrets.token_hex(20), secrets.token_urlsafe(64)
    row = LogInAttempt.objects.create(
        provider=provider,
        state=digest(state),
        browser=digest(browser),
        nonce=nonce,
        verifier=verifier,
        next=next_page if len(next_page) <= LONGEST_NEXT else "",
        is_test=is_test,
        expires_at=now() + LASTS,
    )
    return Begun(id=row.id, state=state, nonce=nonce, verifier=verifier)


def take(state: str, *, browser: str) -> LogInAttempt:
    """Return the attempt of a state and mark it as used; of concurrent requests one gets it. Raises AttemptInvalid."""
    row = _open(state)
    if not is_of(row, browser):
        raise AttemptInvalid
    if LogInAttempt.objects.filter(id=row.id, used_at=None).update(used_at=DatabaseNow()) != 1:
        raise AttemptInvalid
    return row


def answer(state: str) -> LogInAttempt:
    """Return the open attempt that an answer from another site belongs to: no cookie of ours comes with that.

    Raises AttemptInvalid, also for one that has been answered.
    """
    row = _open(state)
    if row.outcome is not None:
        raise AttemptInvalid
    return row


def keep(row: LogInAttempt, outcome: dict[str, Any]) -> None:
    """Keep what the provider stated until the browser fetches it; only the first answer counts. Raises AttemptInvalid."""
    if LogInAttempt.objects.filter(id=row.id, outcome__isnull=True, used_at=None).update(outcome=outcome) != 1:
        raise AttemptInvalid


def keep_name(row: LogInAttempt, outcome: dict[str, Any]) -> str:
    """Keep whom the provider named in a used attempt, for a request to join; return the state that names it from then on."""
    state = secrets.token_urlsafe(SECRET_BYTES)
    LogInAttempt.objects.filter(id=row.id).update(outcome=outcome, state=digest(state), expires_at=now() + LASTS)
    return state


def named(state: str, *, browser: str) -> LogInAttempt:
    """Return the attempt in which the provider named a person who is no member, once. Raises AttemptInvalid."""
    rows = LogInAttempt.objects.select_related("provider").filter(
        state=digest(state), used_at__isnull=False, outcome__isnull=False, expires_at__gt=DatabaseNow(), is_test=False
    )
    row = rows.filter(provider__enabled=True).first()
    if row is None or not is_of(row, browser):
        raise AttemptInvalid
    LogInAttempt.objects.filter(id=row.id).update(expires_at=DatabaseNow())
    return row


def is_of(row: LogInAttempt, browser: str) -> bool:
    """Return whether an attempt was begun by the browser with this cookie."""
    return bool(browser) and hmac.compare_digest(bytes(row.browser), digest(browser))


def digest(text: str) -> bytes:
    """Return SHA-256 of a secret with 256 random bits: 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def _open(state: str) -> LogInAttempt:
    rows = LogInAttempt.objects.select_related("provider").filter(used_at=None, expires_at__gt=DatabaseNow())
    row = rows.filter(state=digest(state), provider__enabled=True).first()
    if row is None:
        raise AttemptInvalid
    return row
