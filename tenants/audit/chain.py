"""The chain's hashes: pure, so that a verifier without Django computes the same."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

GENESIS = bytes(32)
VERSION = 2
_FIELDS_1 = (
    "tenant_id",
    "seq",
    "occurred_at",
    "actor_type",
    "actor_id",
    "actor_label",
    "action",
    "target_type",
    "target_id",
    "target_label",
    "changes",
    "reason",
    "ip",
    "user_agent",
    "request_id",
    "schema_version",
)
#: Version 2 holds no personal text: pseudonyms stand for people, and `sealed` is encrypted under a person's key.
FIELDS = (*_FIELDS_1, "on_behalf_of", "credential", "outcome", "error_code", "subject", "sealed")
_PLATFORM_1 = (
    "seq",
    "at",
    "operator",
    "operator_label",
    "action",
    "target_type",
    "target_id",
    "target_label",
    "reason",
    "ip",
    "request_id",
    "schema_version",
)
PLATFORM_FIELDS = (*_PLATFORM_1, "credential", "outcome")
Versions = Mapping[int, tuple[str, ...]]
#: The hashed fields of each version of an entry: in a tenant's chain, and in the platform's.
TENANT: Versions = {1: _FIELDS_1, 2: FIELDS}
PLATFORM: Versions = {1: _PLATFORM_1, 2: PLATFORM_FIELDS}


def plain(value: Any) -> Any:
    """Return a value as JSON that survives a round trip through `jsonb`: no floats, no NUL, times in UTC."""
    if isinstance(value, Mapping):
        return {str(plain(str(key))): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value).replace("\x00", "\ufffd")


def canonical(entry: Mapping[str, Any], versions: Versions = TENANT) -> bytes:
    """Return the bytes that are hashed: the fields of the entry's version, sorted keys, no white space, UTF-8.

    Raises KeyError for an unknown version.
    """
    chosen = {name: plain(entry[name]) for name in versions[entry["schema_version"]]}
    return json.dumps(chosen, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def link(prev_hash: bytes, entry: Mapping[str, Any], versions: Versions = TENANT) -> bytes:
    """Return SHA-256(previous hash, canonical entry): 32 bytes."""
    return hashlib.sha256(prev_hash + canonical(entry, versions)).digest()
