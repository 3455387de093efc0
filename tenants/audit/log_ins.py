"""Refused log-ins, on their way to the operator log: any side notes one, the ops worker enters it.

A row names the account that was asked for, or none, and the client by a pseudonym whose salt is forgotten after a day: no
email address, no IP address. What is stored, and in how many statements, does not depend on whether the account exists.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.core.cache import cache

from tenants.ids import uuid7
from tenants.models import RefusedLogIn

ONCE_IN_S = 600
SALT_S = 24 * 3600
PASSWORD, SECOND_FACTOR, PROVIDER = RefusedLogIn.PASSWORD, RefusedLogIn.SECOND_FACTOR, RefusedLogIn.PROVIDER


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A log-in that was refused. `asked_for` is what named the account, existing or not; `account` is the existing one.

    `ip` is the client's address, of IPv6 its network. `tenant_id`: whose identity provider was asked.
    """

    method: str
    code: str
    ip: str
    request_id: str
    asked_for: str = ""
    account: UUID | None = None
    tenant_id: UUID | None = None


def note(refusal: Refusal) -> None:
    """Store a refusal for the operator log, once in ten minutes for the same account, method and client.

    It locks nothing that another log-in needs: the chain's head is the ops worker's.
    """
    origin = _origin(refusal.ip)
    same = f"{refusal.method} {refusal.tenant_id} {origin} {refusal.asked_for}"
    if not cache.add(f"log_in_refused:{hashlib.sha256(same.encode()).hexdigest()}", 1, ONCE_IN_S):
        return
    row = RefusedLogIn(
        id=uuid7(),
        side=RefusedLogIn.CONSOLE if settings.CONSOLE else RefusedLogIn.TENANTS,
        method=refusal.method,
        code=refusal.code[:80],
        account=refusal.account,
        origin=origin,
        provider_of=refusal.tenant_id,
        request_id=refusal.request_id[:64],
    )
    # These roles may add rows and read none: so nothing is returned, and no conflict is looked for.
    RefusedLogIn.objects.bulk_create([row], ignore_conflicts=True)


def _origin(ip: str) -> str:
    """Return the pseudonym of a client, the same for a day: 16 hexadecimal digits."""
    salt = cache.get_or_set("log_in_refused:salt", lambda: secrets.token_hex(16), SALT_S)
    return hashlib.sha256(f"{salt} {ip}".encode()).hexdigest()[:16]
