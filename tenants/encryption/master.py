"""The master key, which wraps the tenants' data keys. A key management service can implement `MasterKey`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from tenants.errors import Unavailable

KEY_BYTES = 32
NONCE_BYTES = 12


class KeyUnavailable(Unavailable):
    """The key of this organisation's stored files cannot be used at the moment. Contact your administrator."""

    code = "encryption_key_unavailable"


class MasterKey(Protocol):
    """Wraps and unwraps data keys. `context` is authenticated: a key wrapped for one tenant opens for no other."""

    @property
    def id(self) -> str:
        """Identifier of the key that reveals nothing about it."""

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return a data key encrypted. Raises KeyUnavailable."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return a data key in the clear. Raises KeyUnavailable."""


@dataclass(frozen=True)
class LocalMasterKey:
    """A 32-byte master key held by this process: AES-256-GCM with a random nonce for each wrapping."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """A fingerprint: HMAC-SHA256 under the key, which reveals nothing about it."""
        return "local:" + hmac.new(self.secret, b"exchequer master key", hashlib.sha256).hexdigest()[:16]

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return nonce and ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key. Raises KeyUnavailable for another master key, another context or an altered row."""
        try:
            return AESGCM(self.secret).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise KeyUnavailable from error


def parse(text: str) -> LocalMasterKey:
    """Parse a key from base64 of 32 bytes. Raises ValueError."""
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ValueError("use 32 random bytes as base64, such as `openssl rand -base64 32` prints")
    return LocalMasterKey(secret)


def fresh() -> str:
    """Return a new master key in the format of EXCHEQUER_MASTER_KEY."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def given() -> MasterKey:
    """Return the master key given to this process. Raises KeyUnavailable without one."""
    if not settings.EXCHEQUER.master_key:
        raise KeyUnavailable
    return parse(settings.EXCHEQUER.master_key)


def master_key(key_id: str) -> MasterKey:
    """Return the master key of a fingerprint.

    It is the given one, its predecessor, or the current content of EXCHEQUER_MASTER_KEY_FILE. The file is read again,
    so that a rotation on this machine needs no restart. Raises KeyUnavailable.
    """
    env = settings.EXCHEQUER
    for text in (env.master_key, env.master_key_previous):
        if text and parse(text).id == key_id:
            return parse(text)
    if env.master_key_file:
        try:
            found = parse(Path(env.master_key_file).read_text())
        except (OSError, ValueError) as error:
            raise KeyUnavailable from error
        if found.id == key_id:
            return found
    raise KeyUnavailable
