"""Keys of people in the audit log: one for each tenant and person, wrapped by the tenant's data key.

Who destroys the wrapped key makes unreadable whatever was encrypted under it, in every copy of the log.
"""

from __future__ import annotations

import os
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from tenants.encryption.keys import DataKey
from tenants.encryption.master import KEY_BYTES, NONCE_BYTES, KeyUnavailable

KEPT_KEYS = 4096


def has_master_key() -> bool:
    """Return whether this process may use a master key: the console and the controller hold none."""
    return bool(settings.EXCHEQUER.master_key) and not settings.CONSOLE


def fresh(data_key: DataKey, subject_id: UUID) -> tuple[bytes, bytes]:
    """Return a new key and the same wrapped for storage."""
    secret = os.urandom(KEY_BYTES)
    return secret, encrypt(_wrapping(data_key), secret, _context("key", subject_id))


@lru_cache(maxsize=KEPT_KEYS)
def unwrap(data_key: DataKey, subject_id: UUID, wrapped: bytes) -> bytes:
    """Return a subject's key. Raises KeyUnavailable if it does not open."""
    return decrypt(_wrapping(data_key), wrapped, _context("key", subject_id))


def seal(key: bytes, what: str, subject_id: UUID, text: str) -> bytes:
    """Encrypt a text under a subject's key; `what` says its use, which is authenticated."""
    return encrypt(key, text.encode(), _context(what, subject_id))


def unseal(key: bytes, what: str, subject_id: UUID, sealed: bytes) -> str:
    """Return the text. Raises KeyUnavailable if it does not open."""
    return decrypt(key, sealed, _context(what, subject_id)).decode()


def encrypt(key: bytes, text: bytes, context: bytes) -> bytes:
    """Return nonce and ciphertext (AES-256-GCM)."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text, context)


def decrypt(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Return what `encrypt` was given. Raises KeyUnavailable."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise KeyUnavailable from error


@lru_cache(maxsize=KEPT_KEYS)
def _wrapping(data_key: DataKey) -> bytes:
    """Return the key that wraps subject keys: derived, because the data key itself encrypts files."""
    return HKDF(SHA256(), KEY_BYTES, None, b"exchequer subject keys 1").derive(data_key.secret)


def _context(what: str, subject_id: UUID) -> bytes:
    return f"exchequer audit {what} 1|{subject_id}".encode()
