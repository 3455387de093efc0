"""Verify an exported audit log without Exchequer: `python -m scripts.verify_audit_export FILE --public-key KEY`.

FILE has one JSON object per line: entries in order, and checkpoints (`checkpoint`). Only the package `cryptography` is
needed, and without `--public-key` not even that. Exit 1 names the first entry that fails.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

ONE = [
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
]
FIELDS = {1: ONE, 2: [*ONE, "on_behalf_of", "credential", "outcome", "error_code", "subject", "sealed"]}
SIGNED = ("at", "chain", "format", "hash", "key_id", "seq")


def compact(value: dict[str, Any], *, ascii_only: bool) -> bytes:
    """Return JSON with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def digest(entry: dict[str, Any]) -> str:
    """Return the hash that an entry must have, in hexadecimal."""
    chosen = {name: entry[name] for name in FIELDS[entry["schema_version"]]}
    return hashlib.sha256(bytes.fromhex(entry["prev_hash"]) + compact(chosen, ascii_only=False)).hexdigest()


def entry_fault(entry: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Return why an entry does not follow the one before it; empty if it does."""
    seq = entry["seq"]
    if before is not None and seq != before["seq"] + 1:
        return f"entry {before['seq'] + 1} is missing; the next one is {seq}"
    expected = before["hash"] if before is not None else "00" * 32 if seq == 1 else entry["prev_hash"]
    if entry["prev_hash"] != expected:
        return f"entry {seq} does not follow entry {seq - 1}"
    version = entry["schema_version"]
    if version not in FIELDS or (before is not None and version < before["schema_version"]):
        return f"entry {seq} has the unexpected version {version}"
    if not entry.get("withheld") and digest(entry) != entry["hash"]:
        return f"entry {seq} was changed after it was written"
    return ""


def signature_valid(said: dict[str, Any], public_key: bytes) -> bool:
    """Return whether the key signed a checkpoint."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(public_key)
    try:
        key.verify(bytes.fromhex(said["signature"]), compact({name: said[name] for name in SIGNED}, ascii_only=True))
    except InvalidSignature:
        return False
    return True


def verify(lines: Iterable[str], public_key: bytes | None) -> tuple[str, int, int]:
    """Return the first fault (empty if there is none), and how many entries and checkpoints were verified."""
    before: dict[str, Any] | None = None
    entries = checkpoints = 0
    for line in lines:
        one = json.loads(line)
        if "checkpoint" not in one:
            if fault := entry_fault(one, before):
                return fault, entries, checkpoints
            before, entries = one, entries + 1
        elif public_key is not None:
            said = one["checkpoint"]
            if not signature_valid(said, public_key):
                return f"the checkpoint at entry {said['seq']} is not signed with this key", entries, checkpoints
            if before is None or (before["seq"], before["hash"]) != (said["seq"], said["hash"]):
                return f"entry {said['seq']} is not the one that was signed at {said['at']}", entries, checkpoints
            if said["chain"] != before["tenant_id"]:
                return f"the checkpoint at entry {said['seq']} belongs to another log", entries, checkpoints
            checkpoints += 1
    return "", entries, checkpoints


def main() -> int:
    """Verify the file that the command line names."""
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("file")
    parser.add_argument(
        "--public-key", help="the installation's key, in base64: checkpoints signed with any other fail"
    )
    given = parser.parse_args()
    key = base64.b64decode(given.public_key, validate=True) if given.public_key else None
    with open(given.file, encoding="utf-8") as file:
        fault, entries, checkpoints = verify(file, key)
    if fault:
        sys.stdout.write(f"{fault}\n")
        return 1
    sys.stdout.write(f"{entries} entries and {checkpoints} checkpoints are valid\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
