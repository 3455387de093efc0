"""The platform's own secrets, such as those of the operators' webhooks: sealed under the platform key.

The console seals with the public half and cannot open what it sealed; the ops worker opens with the private half, which
the master key wraps. A sealed secret is the id of the key, an ephemeral public key, nonce and ciphertext: X25519, HKDF-SHA256
and AES-256-GCM.
"""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import transaction

from tenants.encryption import keys
from tenants.encryption.master import KEY_BYTES, KeyUnavailable, master_key
from tenants.encryption.subject_keys import decrypt, encrypt
from tenants.errors import Unavailable
from tenants.ids import uuid7
from tenants.models import PlatformKey

KEY_ID_BYTES = 16


class NoPlatformKey(Unavailable):
    """The ops worker has not made the platform key yet. Check that it runs, then try again."""

    code = "no_platform_key"


def provide() -> None:
    """Make the platform key unless there is one (control role, with a master key)."""
    if PlatformKey.objects.filter(current=True).exists():
        return
    with transaction.atomic():
        keys.lock_shared()
        master, pair, key_id = keys.in_use(), X25519PrivateKey.generate(), uuid7()
        wrapped = master.wrap(pair.private_bytes_raw(), keys.platform_context(key_id))
        row = PlatformKey(id=key_id, public=pair.public_key().public_bytes_raw(), wrapped=wrapped, master_id=master.id)
        PlatformKey.objects.bulk_create([row], ignore_conflicts=True)


def seal(use: str, text: str) -> bytes:
    """Return a secret as it is stored; `use` names what it is for, and is authenticated. Raises NoPlatformKey."""
    found = PlatformKey.objects.filter(current=True).values_list("id", "public").first()
    if found is None:
        raise NoPlatformKey
    key_id, public = found[0], bytes(found[1])
    ephemeral = X25519PrivateKey.generate()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    own = ephemeral.public_key().public_bytes_raw()
    return key_id.bytes + own + encrypt(_derived(shared, own, public), text.encode(), _context(use))


def unseal(use: str, sealed: bytes) -> str:
    """Return a stored secret (control role, with the master key). Raises KeyUnavailable if it does not open for this use."""
    key_id, rest = UUID(bytes=sealed[:KEY_ID_BYTES]), sealed[KEY_ID_BYTES:]
    row = PlatformKey.objects.filter(id=key_id).first()
    if row is None:
        raise KeyUnavailable
    private = X25519PrivateKey.from_private_bytes(_unwrapped(row.id, bytes(row.wrapped), row.master_id))
    own = rest[:KEY_BYTES]
    shared = private.exchange(X25519PublicKey.from_public_bytes(own))
    key = _derived(shared, own, private.public_key().public_bytes_raw())
    return decrypt(key, rest[KEY_BYTES:], _context(use)).decode()


@lru_cache(maxsize=16)
def _unwrapped(key_id: UUID, wrapped: bytes, master_id: str) -> bytes:
    return master_key(master_id).unwrap(wrapped, keys.platform_context(key_id))


def _derived(shared: bytes, own: bytes, public: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, own + public, b"exchequer platform secrets 1").derive(shared)


def _context(use: str) -> bytes:
    return f"exchequer platform secret 1|{use}".encode()
