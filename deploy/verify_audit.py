"""Verify exported audit logs without Exchequer: `python deploy/verify_audit.py FILE [CHECKPOINTS…] --public-key KEY`.

FILE is an export: entries in order, one JSON object a line, of one log, or of several as `audit_drain` prints them. With
CHECKPOINTS, files or folders with `.jsonl` files kept elsewhere (of webhooks, emails, `audit/` of the object store), a log that
was cut or rewritten fails. Needs only the package `cryptography`, for keys. Not verified: `operation` and `origin` of entries.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BOTH = ("seq", "action", "target_type", "target_id", "target_label", "reason", "ip", "request_id", "schema_version")
TENANT = (*BOTH, "tenant_id", "occurred_at", "actor_type", "actor_id", "actor_label", "changes", "user_agent")
TENANT_2 = (*TENANT, "on_behalf_of", "credential", "outcome", "error_code", "subject", "sealed")
PLATFORM = (*BOTH, "at", "operator", "operator_label")
#: What is hashed of an entry, by version: in an organisation's log, and in the operator log.
FIELDS = {True: {1: TENANT, 2: TENANT_2}, False: {1: PLATFORM, 2: (*PLATFORM, "credential", "outcome")}}
SIGNED = ("at", "chain", "format", "hash", "key_id", "seq")


class Fault(Exception):
    """The file is not what was written: in whose log, and why."""


@dataclass
class Log:
    """What was read of one log so far. `people` maps pseudonyms and names to whether the name was proved."""

    name: str
    first: int = 0
    last: int = 0
    hash: str = "00" * 32
    version: int = 1
    withheld: int = 0
    covered: int = 0
    people: dict[tuple[str, str], bool] = field(default_factory=dict)

    def take(self, entry: dict[str, Any], *, allow_withheld: bool) -> None:
        """Verify an entry and how it follows the one before it. Raises Fault."""
        seq, version, fields = entry["seq"], entry["schema_version"], FIELDS["tenant_id" in entry]
        if self.last and seq != self.last + 1:
            raise Fault(self.name, f"entry {self.last + 1} is missing; the next one is {seq}")
        if (self.last or seq == 1) and entry["prev_hash"] != self.hash:
            raise Fault(self.name, f"entry {seq} does not follow entry {seq - 1}")
        if version not in fields or version < self.version:
            raise Fault(self.name, f"entry {seq} has the unexpected version {version}")
        if entry.get("withheld") and not allow_withheld:
            raise Fault(self.name, f"entry {seq} is withheld from its reader; --allow-withheld accepts it unread")
        hashed = bytes.fromhex(entry["prev_hash"]) + json_of(entry, fields[version])
        if hashlib.sha256(hashed).hexdigest() != entry["hash"] and not entry.get("withheld"):
            raise Fault(self.name, f"entry {seq} was changed after it was written")
        for person, name in entry.get("people", {}).items():
            if name not in ("erased person", "unknown person") and (person, name) not in self.people:
                self.people[person, name] = name_proved(person, name, entry.get("salts", {}).get(person, ""))
        self.first, self.last, self.hash, self.version = self.first or seq, seq, entry["hash"], version
        self.withheld += bool(entry.get("withheld"))

    def compare(self, signed: dict[str, Any], keys: dict[str, bytes]) -> None:
        """Verify a checkpoint against the newest entry: it vouches for that one and all before it. Raises Fault."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            key = Ed25519PublicKey.from_public_bytes(keys[signed["key_id"]])
            key.verify(bytes.fromhex(signed["signature"]), json_of(signed, SIGNED))
        except (KeyError, InvalidSignature):
            raise Fault(self.name, f"no key that was given signed the checkpoint at entry {signed['seq']}") from None
        if (self.last, self.hash) != (signed["seq"], signed["hash"]):
            raise Fault(self.name, f"entry {signed['seq']} is not the one that was signed at {signed['at']}")
        self.covered = self.last


def json_of(value: dict[str, Any], names: Iterable[str]) -> bytes:
    """Return some fields of an object as JSON with sorted keys and no white space."""
    some = {name: value[name] for name in names}
    return json.dumps(some, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def name_proved(person: str, name: str, salt: str) -> bool:
    """Return whether a pseudonym, a hash of name and salt, stands for this name. Raises Fault if it is another's."""
    given = person.removeprefix("person:").replace("-", "")
    made = hashlib.sha256(f"exchequer person\n{salt}\n{name}".encode()).hexdigest()
    proves = given[12] == "8"  # a UUID of another version was given without the installation's key
    if proves and (made[:12], made[13:16], made[17:32]) != (given[:12], given[13:16], given[17:]):
        raise Fault(person, f"it is not {name}: the name was changed")
    return proves


def lines_of(*paths: Path) -> Iterator[Any]:
    """Yield the objects in files, and in folders with `.jsonl` files. Raises OSError, ValueError."""
    for path in paths:
        for one in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
            with one.open(encoding="utf-8") as file:
                yield from map(json.loads, file)


def verify(given: argparse.Namespace, keys: dict[str, bytes]) -> Iterator[str]:
    """Verify the logs in the file, then yield what was found. Raises Fault."""
    logs, kept = dict[str, Log](), dict[str, dict[int, list[Any]]]()
    for line in lines_of(*given.checkpoints):
        one = line.get("checkpoint") or line.get("data") or line  # of an export, of a webhook, or as stored
        kept.setdefault(one["chain"], {}).setdefault(one["seq"], []).append(one)
    for line in (one for one in lines_of(given.file) if "cursor" not in one):  # which `audit_drain` prints last
        signed = [line["checkpoint"]] if "checkpoint" in line else []
        name = signed[0]["chain"] if signed else line.get("tenant_id", "platform")
        log = logs[name] if signed else logs.get(name) or logs.setdefault(name, Log(name))
        if not signed:
            log.take(line, allow_withheld=given.allow_withheld)
            signed = kept.get(name, {}).get(log.last, [])
        for one in signed if keys else ():
            log.compare(one, keys)
    if not logs:
        raise Fault(given.file.name, "it has no entry")
    for name, log in logs.items():
        if (ends := max(kept.pop(name, [0]))) > log.last and not given.part:
            raise Fault(name, f"the log ends at entry {log.last}, but entry {ends} was signed; --part accepts a part")
        after, unproved = log.last - max(log.covered, log.first - 1), [*log.people.values()].count(False)
        yield f"{name}: entries {log.first} to {log.last} are valid; NOT verified: {log.withheld} withheld, {unproved} names"
        yield f"{name}: signed checkpoints (need --public-key) cover up to entry {log.covered or 'NONE'}, not the {after} others"
    if kept:
        yield f"{sum(map(len, kept.values()))} checkpoints are of other logs and were not used"


def main() -> None:
    """Verify the files that the command line names."""
    parser = argparse.ArgumentParser(description="Verify exported audit logs.")
    parser.add_argument("file", type=Path)
    parser.add_argument("checkpoints", nargs="*", type=Path, help="files or folders of those that were kept elsewhere")
    parser.add_argument("--public-key", action="append", default=[], help="of the installation, in base64; repeatable")
    parser.add_argument("--allow-withheld", action="store_true", help="accept entries hidden from who exported the log")
    parser.add_argument("--part", action="store_true", help="FILE may end before the newest checkpoint")
    given = parser.parse_args()
    try:
        raw = map(base64.b64decode, given.public_key)
        print(*verify(given, {"ed25519:" + hashlib.sha256(one).hexdigest()[:16]: one for one in raw}), sep="\n")
    except Fault as fault:
        sys.exit("NOT VALID: " + ": ".join(fault.args))
    except (OSError, KeyError, TypeError, AttributeError, IndexError, ValueError) as fault:
        sys.exit(f"NOT VALID: no export of an audit log, or no key ({type(fault).__name__}: {fault})")


if __name__ == "__main__":
    main()
