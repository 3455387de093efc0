"""Single-use tokens of the playground: signed by the web process, accepted by the serving node once.

A token replaces an endpoint key in the header `x-exchequer-tryout` and names tenant, endpoint and person. Its creator
has checked the person's right to the endpoint. The request is counted and billed like any other. Pure: the secret, the
time and the randomness are arguments.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

HEADER = "x-exchequer-tryout"
LIFE_S = 30.0
BODY = struct.Struct(">16s16s16sQ8s")
MAC_BYTES = 32


class BadPlaygroundToken(ValueError):
    """The token is forged, expired, or was used before."""


@dataclass(frozen=True)
class PlaygroundToken:
    """Who tries which endpoint. `until` is seconds since 1970; `nonce` makes tokens unique."""

    tenant_id: UUID
    endpoint_id: UUID
    user_id: UUID
    until: float
    nonce: bytes


def sign(secret: str, *, tenant_id: UUID, endpoint_id: UUID, user_id: UUID, now_s: float, nonce: bytes) -> str:
    """Return a token valid for LIFE_S; `secret` is that of the serving nodes, `nonce` eight random bytes."""
    until_ms = int((now_s + LIFE_S) * 1000)
    body = BODY.pack(tenant_id.bytes, endpoint_id.bytes, user_id.bytes, until_ms, nonce)
    return base64.urlsafe_b64encode(body + _mac(secret, body)).decode()


def verify(secret: str, text: str, *, now_s: float) -> PlaygroundToken:
    """Return the content of a token. Raises BadPlaygroundToken. `Used` checks whether it was used before."""
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadPlaygroundToken("This token is not valid.") from error
    body, mac = raw[: BODY.size], raw[BODY.size :]
    if len(raw) != BODY.size + MAC_BYTES or not hmac.compare_digest(mac, _mac(secret, body)):
        raise BadPlaygroundToken("This token is not valid.")
    tenant, endpoint, user, until_ms, nonce = BODY.unpack(body)
    # A token valid for longer than any ever issued comes from a wrong clock.
    if not now_s < until_ms / 1000 <= now_s + 2 * LIFE_S:
        raise BadPlaygroundToken("The token has expired. Submit the form again.")
    return PlaygroundToken(UUID(bytes=tenant), UUID(bytes=endpoint), UUID(bytes=user), until_ms / 1000, nonce)


class Used:
    """Remembers used tokens until they expire; used by one thread of one process."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def take(self, one: PlaygroundToken, *, now_s: float) -> None:
        """Use a verified token. Raises BadPlaygroundToken the second time."""
        for nonce in [nonce for nonce, until in self._until.items() if until < now_s]:
            del self._until[nonce]
        key = one.endpoint_id.bytes + one.user_id.bytes + one.nonce
        if key in self._until:
            raise BadPlaygroundToken("The token has already been used.")
        self._until[key] = one.until


def _mac(secret: str, body: bytes) -> bytes:
    key = hmac.digest(secret.encode(), b"exchequer.tryout", "sha256")
    return hmac.digest(key, body, "sha256")
