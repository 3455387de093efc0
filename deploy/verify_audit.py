"""Verify an exported audit log without Exchequer: `python deploy/verify_audit.py FILE [CHECKPOINTS] --public-key KEY`.

FILE has one JSON object per line: entries in order, and checkpoints (`checkpoint`). CHECKPOINTS holds those that were kept
elsewhere, from webhooks or the object store: with them a log that was cut or rewritten fails. Only the package
`cryptography` is needed, and without `--public-key` not even that. Exit 1 names the first fault. Not verified: `origin`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

ONE = (
    "tenant_id", "seq", "occurred_at", "actor_type", "actor_id", "actor_label", "action", "target_type", "target_id",
    "target_label", "changes", "reason", "ip", "user_agent", "request_id", "schema_version",
)  # fmt: skip
FIELDS = {1: ONE, 2: (*ONE, "on_behalf_of", "credential", "outcome", "error_code", "subject", "sealed")}
SIGNED = ("at", "chain", "format", "hash", "key_id", "seq")
NAMELESS = ("erased person", "unknown person")


class Fault(Exception):
    """The file is not what was written."""


@dataclass
class Seen:
    """What was read so far. `people` maps pseudonyms to whether their name was proved."""

    last: dict[str, Any] = field(default_factory=dict)
    first: int = 0
    entries: int = 0
    withheld: int = 0
    checkpoints: int = 0
    unverified: int = 0
    people: dict[tuple[str, str], bool] = field(default_factory=dict)


def compact(value: dict[str, Any], *, ascii_only: bool) -> bytes:
    """Return JSON with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def digest(entry: dict[str, Any]) -> str:
    """Return the hash that an entry must have, in hexadecimal."""
    chosen = {name: entry[name] for name in FIELDS[entry["schema_version"]]}
    return hashlib.sha256(bytes.fromhex(entry["prev_hash"]) + compact(chosen, ascii_only=False)).hexdigest()


def name_proved(pseudonym: str, label: str, salt: str) -> bool:
    """Return whether a pseudonym stands for this name: it is a hash of the name and a salt. Raises Fault if it is another's.

    Pseudonyms that were given without the installation's key (UUIDs of another version than 8) prove no name.
    """
    whose = pseudonym.removeprefix("person:").replace("-", "")
    if whose[12] != "8":
        return False
    made = hashlib.sha256(f"exchequer person\n{salt}\n{label}".encode()).hexdigest()
    if (made[:12], made[13:16], made[17:32]) != (whose[:12], whose[13:16], whose[17:]):  # but for version and variant
        raise Fault(f"{pseudonym} is not {label}: the name was changed")
    return True


def take_entry(one: dict[str, Any], seen: Seen, *, allow_withheld: bool) -> None:
    """Verify an entry and how it follows the one before it. Raises Fault."""
    seq, before, version = one["seq"], seen.last, one["schema_version"]
    if before and seq != before["seq"] + 1:
        raise Fault(f"entry {before['seq'] + 1} is missing; the next one is {seq}")
    if one["prev_hash"] != (before["hash"] if before else "00" * 32 if seq == 1 else one["prev_hash"]):
        raise Fault(f"entry {seq} does not follow entry {seq - 1}")
    if version not in FIELDS or (before and version < before["schema_version"]):
        raise Fault(f"entry {seq} has the unexpected version {version}")
    if one.get("withheld"):
        if not allow_withheld:
            raise Fault(
                f"entry {seq} is withheld from the reader who exported the log; --allow-withheld accepts such entries unread"
            )
        seen.withheld += 1
    elif digest(one) != one["hash"]:
        raise Fault(f"entry {seq} was changed after it was written")
    for pseudonym, label in one.get("people", {}).items():
        if label not in NAMELESS and (pseudonym, label) not in seen.people:
            seen.people[pseudonym, label] = name_proved(pseudonym, label, one.get("salts", {}).get(pseudonym, ""))
    seen.last, seen.first, seen.entries = one, seen.first or seq, seen.entries + 1


def take_checkpoint(said: dict[str, Any], found: dict[str, Any], public_key: bytes) -> None:
    """Verify a checkpoint against the entry with its number. Raises Fault."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    message = compact({name: said[name] for name in SIGNED}, ascii_only=True)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(said["signature"]), message)
    except InvalidSignature:
        raise Fault(f"the checkpoint at entry {said['seq']} is not signed with this key") from None
    if said["chain"] != found["tenant_id"]:
        raise Fault(f"the checkpoint at entry {said['seq']} belongs to another log")
    if (found["seq"], found["hash"]) != (said["seq"], said["hash"]):
        raise Fault(f"entry {said['seq']} is not the one that was signed at {said['at']}")


def lines_of(path: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object per line. Raises OSError, ValueError."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def verify(
    lines: Iterable[dict[str, Any]], public_key: bytes | None, kept: Iterable[dict[str, Any]] = (), *, allow_withheld: bool = False
) -> Seen:  # fmt: skip
    """Verify a log against its own and the kept checkpoints; return what was seen. Raises Fault."""
    seen, apart = Seen(), {one["seq"]: one for one in (line.get("checkpoint", line) for line in kept)}
    for one in lines:
        if "cursor" in one:  # of `audit_drain`
            continue
        if "checkpoint" not in one:
            take_entry(one, seen, allow_withheld=allow_withheld)
        said = one.get("checkpoint") or apart.get(one["seq"])
        if said and public_key is None:
            seen.unverified += 1
        elif said and public_key is not None:
            take_checkpoint(said, seen.last, public_key)
            seen.checkpoints += 1
    if not seen.entries:
        raise Fault("the file has no entry")
    if missing := [seq for seq in apart if seq > seen.last["seq"]]:
        raise Fault(f"the log ends at entry {seen.last['seq']}, but entry {max(missing)} was signed")
    return seen


def main() -> None:
    """Verify the files that the command line names."""
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("file")
    parser.add_argument("checkpoints", nargs="?", help="checkpoints that were kept elsewhere, one per line")
    parser.add_argument("--public-key", help="the installation's key in base64; without it checkpoints prove nothing")
    parser.add_argument(
        "--allow-withheld", action="store_true", help="accept entries that the exporting reader may not see"
    )
    given = parser.parse_args()
    try:
        key = base64.b64decode(given.public_key, validate=True) if given.public_key else None
        kept = lines_of(given.checkpoints) if given.checkpoints else ()
        seen = verify(lines_of(given.file), key, kept, allow_withheld=given.allow_withheld)
    except OSError as fault:
        sys.exit(f"cannot read {fault.filename}: {fault.strerror}")
    except Fault as fault:
        sys.exit(f"NOT VALID: {fault}")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as fault:
        sys.exit(f"NOT VALID: this is no export of an audit log, or no key ({type(fault).__name__}: {fault})")
    print(f"entries {seen.first} to {seen.last['seq']} are valid, {seen.checkpoints} checkpoints are valid")
    if seen.unverified:
        print(f"{seen.unverified} checkpoints were NOT verified: without --public-key a log that was rewritten passes")
    if seen.withheld:
        print(f"{seen.withheld} entries are withheld: their contents were NOT verified")
    if unproved := sum(not proved for proved in seen.people.values()):
        print(f"{unproved} of {len(seen.people)} people are named without proof")


if __name__ == "__main__":
    main()
