"""The chain's hashes: pure, so that a verifier without Django computes the same."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

GENESIS = bytes(32)
FIELDS = (
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
    return str(value).replace("\x00", "\ufffd")


def canonical(entry: Mapping[str, Any]) -> bytes:
    """Return the bytes that are hashed: the named fields, sorted keys, no white space, UTF-8."""
    chosen = {name: plain(entry[name]) for name in FIELDS}
    return json.dumps(chosen, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def link(prev_hash: bytes, entry: Mapping[str, Any]) -> bytes:
    """Return SHA-256(previous hash, canonical entry): 32 bytes."""
    return hashlib.sha256(prev_hash + canonical(entry)).digest()
