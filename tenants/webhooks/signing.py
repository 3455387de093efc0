"""Signatures of deliveries: `Exchequer-Signature: t=<unix seconds>,v1=<hex>`, with a `v1` for each secret in force."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

HEADER = "Exchequer-Signature"
PREFIX = "whsec_"


def new_secret() -> str:
    """Return a new secret: 32 random bytes as text, which is used as it stands."""
    return PREFIX + secrets.token_urlsafe(32)


def header(body: bytes, keys: Sequence[str], at: int) -> str:
    """Return the value of the header for a body sent at `at`, in Unix seconds."""
    signed = str(at).encode() + b"." + body
    parts = [f"v1={hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()}" for key in keys]
    return ",".join([f"t={at}", *parts])
