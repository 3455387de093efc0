"""Verify an exported audit log without Exchequer: `python deploy/verify_audit.py FILE [CHECKPOINTS…] --public-key KEY`.

FILE has one JSON object per line: entries in order, and checkpoints (`checkpoint`). CHECKPOINTS are files, or folders with
`.jsonl` files, of those that were kept elsewhere, from webhooks, emails or the object store (a copy of its `audit/`): with
them a log that was cut or rewritten fails. Only the package `cryptography` is needed, and without `--public-key` not even
that. Exit 1 names the first fault. Not verified: `origin`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
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
    covered: int = 0
    others: int = 0
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


def take_checkpoint(said: dict[str, Any], found: dict[str, Any], keys: dict[str, bytes]) -> None:
    """Verify a checkpoint against the entry with its number. Raises Fault."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if said["key_id"] not in keys:
        raise Fault(f"the checkpoint at entry {said['seq']} is signed with a key that was not given ({said['key_id']})")
    message = compact({name: said[name] for name in SIGNED}, ascii_only=True)
    try:
        Ed25519PublicKey.from_public_bytes(keys[said["key_id"]]).verify(bytes.fromhex(said["signature"]), message)
    except InvalidSignature:
        raise Fault(f"the signature of the checkpoint at entry {said['seq']} is not valid") from None
    if said["chain"] != found["tenant_id"]:
        raise Fault(f"the checkpoint at entry {said['seq']} belongs to another log")
    if (found["seq"], found["hash"]) != (said["seq"], said["hash"]):
        raise Fault(f"entry {said['seq']} is not the one that was signed at {said['at']}")


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object per line. Raises OSError, ValueError."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def kept_in(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the checkpoints in files and in folders with `.jsonl` files, bare or in the body of a webhook."""
    for path in paths:
        for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
            for line in lines_of(file):
                yield line.get("checkpoint") or line.get("data") or line


def verify(
    lines: Iterable[dict[str, Any]], keys: dict[str, bytes], kept: Iterable[dict[str, Any]] = (), *, allow_withheld: bool = False, part: bool = False
) -> Seen:  # fmt: skip
    """Verify a log against its own and the kept checkpoints; return what was seen. Raises Fault."""
    seen, apart = Seen(), defaultdict[tuple[str, int], list[dict[str, Any]]](list)
    for one in kept:
        apart[one["chain"], one["seq"]].append(one)
    for one in lines:
        if "cursor" in one:  # of `audit_drain`
            continue
        if "checkpoint" in one:
            found = [one["checkpoint"]]
        else:
            take_entry(one, seen, allow_withheld=allow_withheld)
            found = apart.get((one["tenant_id"], one["seq"]), [])
        for said in found if keys else ():
            take_checkpoint(said, seen.last, keys)
            seen.checkpoints, seen.covered = seen.checkpoints + 1, said["seq"]
        seen.unverified += 0 if keys else len(found)
    if not seen.entries:
        raise Fault("the file has no entry")
    own = [seq for chain, seq in apart if chain == seen.last["tenant_id"]]
    if max(own, default=0) > seen.last["seq"] and not part:
        raise Fault(
            f"the log ends at entry {seen.last['seq']}, but entry {max(own)} was signed; --part accepts a part of a log"
        )
    seen.others = len(apart) - len(own)
    return seen


def coverage(seen: Seen) -> str:
    """Return which of the valid entries a signed checkpoint covers: it vouches for its entry and all before it."""
    first, last = seen.first, seen.last["seq"]
    if not seen.covered:
        return f"entries {first} to {last} are covered by NO verified checkpoint: a log that was rewritten passes"
    said = f"entries {first} to {seen.covered} are covered by a signed checkpoint"
    return said if seen.covered == last else f"{said}, entries {seen.covered + 1} to {last} by NONE"


def main() -> None:
    """Verify the files that the command line names."""
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "checkpoints", nargs="*", type=Path, help="files or folders of checkpoints that were kept elsewhere"
    )
    parser.add_argument(
        "--public-key", action="append", default=[], help="a key of the installation in base64; repeatable"
    )
    parser.add_argument(
        "--allow-withheld", action="store_true", help="accept entries hidden from the reader who exported"
    )
    parser.add_argument("--part", action="store_true", help="FILE may end before the newest checkpoint")
    given = parser.parse_args()
    try:
        raw = [base64.b64decode(one, validate=True) for one in given.public_key]
        keys = {"ed25519:" + hashlib.sha256(one).hexdigest()[:16]: one for one in raw}
        kept = kept_in(given.checkpoints)
        seen = verify(lines_of(given.file), keys, kept, allow_withheld=given.allow_withheld, part=given.part)
    except OSError as fault:
        sys.exit(f"cannot read {fault.filename}: {fault.strerror}")
    except Fault as fault:
        sys.exit(f"NOT VALID: {fault}")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as fault:
        sys.exit(f"NOT VALID: this is no export of an audit log, or no key ({type(fault).__name__}: {fault})")
    print(f"entries {seen.first} to {seen.last['seq']} are valid, {seen.checkpoints} checkpoints are valid")
    print(coverage(seen))
    if seen.unverified:
        print(f"{seen.unverified} checkpoints were NOT verified: give --public-key")
    if seen.others:
        print(f"{seen.others} checkpoints are of other logs and were not used")
    if seen.withheld:
        print(f"{seen.withheld} entries are withheld: their contents were NOT verified")
    if unproved := sum(not proved for proved in seen.people.values()):
        print(f"{unproved} of {len(seen.people)} people are named without proof")


if __name__ == "__main__":
    main()
