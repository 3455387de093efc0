"""The texts of entries: pseudonyms in place of people before they are hashed, labels in place of pseudonyms for readers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from tenants.audit.subjects import UNKNOWN, Subject, account, address, subjects_by_id, subjects_for
from tenants.encryption import KeyUnavailable
from tenants.encryption.subject_keys import seal, unseal

PERSON = "person:"
ORIGIN = "origin"
ERASED_ORIGIN = ("", "")
_PSEUDONYM = re.compile(r"\bperson:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_CUT = re.compile(r"\bperson:[0-9a-f-]{0,35}$")
_ADDRESS = re.compile(r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]+@(?:[\w-]+(?:\.[\w-]+)+|localhost\b)")
_TEXTS = ("target_id", "target_label", "changes", "reason")
_LONGEST = {"actor_label": 254, "target_id": 64, "target_label": 254}


def pseudonym(subject_id: UUID) -> str:
    """Return what stands for a person in a text."""
    return f"{PERSON}{subject_id}"


def without_people(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return entries with pseudonyms in place of addresses, and with their origin (`ip`, `user_agent`) sealed.

    The actor of kind `user` is a person whatever their label. Needs the scope of the tenant.
    """
    rows = [dict(entry) for entry in entries]
    wanted: dict[str, str] = {}
    for row in rows:
        if row["actor_type"] == "user" and row["actor_label"]:
            wanted.setdefault(address(row["actor_label"]), row["actor_label"])
        if (row["ip"] or row["user_agent"]) and (whose := _whose(row)):
            wanted.setdefault(whose, "")
        _each_text([row[name] for name in ("actor_label", *_TEXTS)], lambda text: _collect(text, wanted))
    known = subjects_for(wanted)
    return [_written(row, known) for row in rows]


def with_people(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return stored entries as readers see them: labels in place of pseudonyms, the origin in the clear.

    One statement for all. What is erased reads "erased person".
    """
    ids = set(pseudonyms_in(rows)) | {row["subject"] for row in rows if row.get("subject")}
    known = subjects_by_id(ids)
    return [_shown(row, known) for row in rows]


def pseudonyms_in(value: Any) -> list[UUID]:
    """Return the ids of the people that texts name by a pseudonym."""
    found: list[UUID] = []

    def collect(text: str) -> str:
        found.extend(map(UUID, _PSEUDONYM.findall(text)))
        return text

    _each_text(value, collect)
    return found


def labelled(value: Any, known: Mapping[UUID, Subject]) -> Any:
    """Return a value with labels in place of pseudonyms."""
    return _each_text(value, lambda text: _PSEUDONYM.sub(lambda one: _label(known, UUID(one[1])), text))


def origin_of(row: Mapping[str, Any], known: Mapping[UUID, Subject]) -> tuple[str, str]:
    """Return address and program of an entry's request, empty where they cannot be read (any more)."""
    subject = known.get(row["subject"]) if row["subject"] else None
    if row["sealed"] is None or subject is None or subject.key is None:
        return ERASED_ORIGIN
    try:
        ip, user_agent = json.loads(unseal(subject.key, ORIGIN, subject.id, bytes(row["sealed"])))
    except KeyUnavailable:
        return ERASED_ORIGIN
    return ip, user_agent


def _whose(row: Mapping[str, Any]) -> str:
    """Return the reference of the person whose request it was; empty for the system's own."""
    if row["actor_type"] == "user" and row["actor_label"]:
        return address(row["actor_label"])
    who = row["on_behalf_of"] or row["actor_id"]
    return account(who) if who is not None else ""


def _collect(text: str, wanted: dict[str, str]) -> str:
    for found in _ADDRESS.findall(text):
        wanted.setdefault(address(found), found)
    return text


def _written(row: dict[str, Any], known: Mapping[str, Subject]) -> dict[str, Any]:
    def instead(text: str) -> str:
        return _ADDRESS.sub(lambda one: pseudonym(known[address(one[0])].id), text)

    done = {**row, **{name: _each_text(row[name], instead) for name in ("actor_label", *_TEXTS)}}
    if row["actor_type"] == "user" and row["actor_label"]:
        done["actor_label"] = pseudonym(known[address(row["actor_label"])].id)
    for name, most in _LONGEST.items():
        if len(done[name]) > most:
            done[name] = _CUT.sub("", done[name][:most])
    done |= {"ip": "", "user_agent": "", "subject": None, "sealed": None}
    subject = known.get(_whose(row)) if row["ip"] or row["user_agent"] else None
    if subject is not None and subject.key is not None:
        origin = json.dumps([row["ip"], row["user_agent"]])
        done |= {"subject": subject.id, "sealed": seal(subject.key, ORIGIN, subject.id, origin)}
    return done


def _shown(row: dict[str, Any], known: Mapping[UUID, Subject]) -> dict[str, Any]:
    said = {name: labelled(row[name], known) for name in ("actor_label", *_TEXTS) if name in row}
    if row.get("sealed") is not None:
        said["ip"], said["user_agent"] = origin_of(row, known)
    return {**row, **said}


def _label(known: Mapping[UUID, Subject], subject_id: UUID) -> str:
    subject = known.get(subject_id)
    return UNKNOWN if subject is None else subject.label


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with every text changed, keys of objects included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_each_text(name, change): _each_text(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(one, change) for one in value]
    return value
