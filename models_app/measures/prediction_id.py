"""Signed prediction ids: feedback proves by the id alone which prediction it is about. Pure.

`version (16) | unix ms (6) | kind (1) | outcome (8) | random (6) | HMAC-SHA256 of those (10)`, base64url without
padding: 63 characters. The key belongs to one endpoint, so an id of another endpoint or tenant counts as forged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

BODY = struct.Struct(">16s6sc8s6s")
MAC_BYTES = 10
LENGTH = 63
CLASS, NUMBER = b"c", b"n"


class ForgedPrediction(ValueError):
    """The id was not made for this endpoint, or was altered."""


@dataclass(frozen=True)
class Prediction:
    """The content of an id. `outcome` is the index of the predicted class (int) or the predicted number (float)."""

    version_id: UUID
    at_ms: int
    outcome: int | float


def derive_key(secret: str, endpoint_id: UUID) -> bytes:
    """Return the key that signs predictions of one endpoint; `secret` is that of the serving nodes."""
    return hmac.digest(secret.encode(), b"exchequer.prediction\0" + endpoint_id.bytes, "sha256")


def sign(key: bytes, *, version_id: UUID, at_ms: int, outcome: int | float, random: bytes) -> str:
    """Return the id of one prediction; `random` is six bytes that make equal predictions distinct."""
    if isinstance(outcome, int):
        kind, value = CLASS, struct.pack(">q", outcome)
    else:
        kind, value = NUMBER, struct.pack(">d", outcome)
    body = BODY.pack(version_id.bytes, at_ms.to_bytes(6, "big"), kind, value, random)
    return _text(body + _mac(key, body))


def verify(key: bytes, text: str) -> Prediction:
    """Return the content of an id. Raises ForgedPrediction unless `sign` made it with this key."""
    if len(text) != LENGTH:
        raise ForgedPrediction("This is not a prediction id.")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-LENGTH % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise ForgedPrediction("This is not a prediction id.") from error
    body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    # The last character has two spare bits. A prediction must not have four ids, or its feedback would count four
    # times.
    if len(body) != BODY.size or _text(raw) != text or not hmac.compare_digest(mac, _mac(key, body)):
        raise ForgedPrediction("This endpoint has no prediction with this id.")
    version, at, kind, value, _ = BODY.unpack(body)
    outcome = struct.unpack(">q", value)[0] if kind == CLASS else struct.unpack(">d", value)[0]
    return Prediction(UUID(bytes=version), int.from_bytes(at, "big"), outcome)


def fingerprint(text: str) -> bytes:
    """Return the hash under which a prediction's feedback is stored once."""
    return hashlib.sha256(text.encode()).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:MAC_BYTES]
