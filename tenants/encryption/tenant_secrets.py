"""Secrets that a tenant stores, such as the client secret of its identity provider: sealed under its data key.

What is stored begins with the id of the data key, so a rotated key leaves earlier secrets readable.
"""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenants.encryption.keys import DataKey, data_key
from tenants.encryption.master import KEY_BYTES
from tenants.encryption.subject_keys import decrypt, encrypt

KEY_ID_BYTES = 16
KEPT_KEYS = 1024


def seal(tenant_id: UUID, use: str, text: str) -> bytes:
    """Return a secret as it is stored; `use` names what it is for, and is authenticated with the tenant."""
    key = data_key(tenant_id)
    return key.id.bytes + encrypt(_wrapping(key), text.encode(), _context(tenant_id, use))


def unseal(tenant_id: UUID, use: str, sealed: bytes) -> str:
    """Return a stored secret. Raises KeyUnavailable if it does not open for this tenant and use."""
    key = data_key(tenant_id, UUID(bytes=sealed[:KEY_ID_BYTES]))
    return decrypt(_wrapping(key), sealed[KEY_ID_BYTES:], _context(tenant_id, use)).decode()


@lru_cache(maxsize=KEPT_KEYS)
def _wrapping(key: DataKey) -> bytes:
    """Return the key that seals secrets: derived, because the data key itself encrypts files."""
    return HKDF(SHA256(), KEY_BYTES, None, b"exchequer tenant secrets 1").derive(key.secret)


def _context(tenant_id: UUID, use: str) -> bytes:
    return f"exchequer tenant secret 1|{tenant_id}|{use}".encode()
