"""Queries of the audit log: entries with labels in place of pseudonyms, redacted for the reader."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from tenants.access.actor import Actor
from tenants.access.reader import reader
from tenants.audit.chain import FIELDS, plain
from tenants.audit.checkpoints import exported
from tenants.audit.differences import NAME, named, names_of, sentences
from tenants.audit.pseudonyms import PERSON, labelled, origin_of, pseudonym, pseudonyms_in, with_people
from tenants.audit.subjects import subjects_by_id, subjects_named
from tenants.audit.withheld import Redaction, withhold
from tenants.audit.words import act_words, operation_of
from tenants.isolation.pages import read_together
from tenants.isolation.scoping import current_tenant_id, scoped_pages
from tenants.models import ApiKey, AuditCheckpoint, AuditEntry

T = TypeVar("T")


@dataclass(frozen=True)
class ChangeOf:
    """The last change of an object: who and when."""

    label: str
    at: datetime


@dataclass(frozen=True)
class AuditRow:
    """One entry of the audit log.

    `hash` is hexadecimal; `target_name` is the label and `differences` are the changes in sentences, with names for ids.
    """

    seq: int
    occurred_at: datetime
    actor_type: str
    actor_id: UUID | None
    actor_label: str
    action: str
    target_type: str
    target_id: str
    target_label: str
    changes: dict[str, Any]
    reason: str
    ip: str
    user_agent: str
    request_id: str
    on_behalf_of: UUID | None
    credential: str
    outcome: str
    error_code: str
    hash: str
    target_name: str = ""
    differences: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The label of the action."""
        return act_words(self.action)

    @property
    def operation(self) -> str:
        """What the action is to its object."""
        return operation_of(self.action)

    @property
    def long(self) -> bool:
        """Return whether a list of entries collapses the changes."""
        return len(self.differences) > 3 or sum(map(len, self.differences)) > 240


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Which entries of the audit log to show: those that all of it fits, with nothing given all.

    `acts`: `people` for those of persons, keys and operators, `system` for those of the system, `reads` for what was taken out or seen. `actor` is part of a label,
    `action` how an action begins.
    """

    actor: str = ""
    acts: str = ""
    action: str = ""
    target_type: str = ""
    target_id: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None


OPERATORS = Q(actor_type="system", actor_label="operator")
ACTS = {
    "people": ~Q(actor_type="system") | OPERATORS,
    "system": Q(actor_type="system") & ~OPERATORS,
    "reads": Q(action__endswith=".downloaded")
    | Q(action__endswith=".exported")
    | Q(action__endswith=".address_revealed")
    | Q(action__endswith=".viewed"),
}
_TYPES = """
WITH RECURSIVE found AS (
    SELECT (SELECT min(target_type) FROM tenants_auditentry WHERE tenant_id = %(tenant)s) AS name
    UNION ALL
    SELECT (SELECT min(target_type) FROM tenants_auditentry WHERE tenant_id = %(tenant)s AND target_type > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL
"""
EVERY_ENTRY = EntryFilter()
EXPORTED_AT_ONCE = 500
STORED = tuple(name for name in AuditRow.__dataclass_fields__ if name not in ("target_name", "differences"))


def entries(only: EntryFilter = EVERY_ENTRY, *, before_seq: int | None = None, limit: int = 50) -> list[AuditRow]:
    """Return up to `limit` + 1 entries, newest first, before a sequence number.

    In three statements: entries, the people in them, and in the texts with people's labels all else that they name.
    """
    rows: QuerySet[AuditEntry] = AuditEntry.objects.order_by("-seq")
    if before_seq is not None:
        rows = rows.filter(seq__lt=before_seq)
    if only.acts:
        rows = rows.filter(ACTS[only.acts])
    if only.actor:
        people = [pseudonym(subject_id) for subject_id in subjects_named(only.actor)]
        plainly = Q(actor_label__icontains=only.actor) & ~Q(actor_label__startswith=PERSON)
        rows = rows.filter(plainly | Q(actor_label__in=people))
    if only.action:
        rows = rows.filter(action__startswith=only.action)
    if only.target_type:
        rows = rows.filter(target_type=only.target_type)
    if only.target_id:
        rows = rows.filter(target_id=only.target_id)
    if only.outcome:
        rows = rows.filter(outcome=only.outcome)
    if only.since:
        rows = rows.filter(occurred_at__gte=only.since)
    if only.until:
        rows = rows.filter(occurred_at__lt=only.until)
    found = with_people(list(rows.values(*STORED, "subject", "sealed")[: limit + 1]))
    redaction = Redaction(reader(), found)
    read = read_together([*redaction.reads, *names_of((row["target_label"], row["changes"]) for row in found)])
    found, names = redaction.of(found, read), dict(reversed(read.get(NAME, [])))
    return [
        AuditRow(
            **{name: row[name] for name in STORED} | {"hash": bytes(row["hash"]).hex()},
            target_name=named(row["target_label"], names),
            differences=sentences(row["changes"], names),
        )
        for row in found
    ]


def target_types() -> list[str]:
    """Return the types of objects in the log of the open scope, by name: one step of the index for each."""
    with connection.cursor() as cursor:
        cursor.execute(_TYPES, {"tenant": current_tenant_id()})
        return [name for (name,) in cursor.fetchall() if name]


def pages(only: EntryFilter = EVERY_ENTRY, *, size: int = 500) -> Iterator[list[AuditRow]]:
    """Yield the filtered entries, newest first, one page at a time; each page is one query."""
    before = None
    while rows := entries(only, before_seq=before, limit=size):
        yield rows[:size]
        if len(rows) <= size:
            return
        before = rows[size - 1].seq


def last_changes(action: str, target_type: str) -> dict[str, ChangeOf]:
    """Return the newest entry of an action for each object of a type, by the object's label."""
    rows = (
        AuditEntry.objects.filter(action=action, target_type=target_type)
        .order_by("target_id", "-seq")
        .distinct("target_id")
        .values_list("target_label", "actor_label", "occurred_at")
    )
    found = [dict(zip(("target_label", "actor_label", "at"), row, strict=True)) for row in rows]
    shown = labelled(found, subjects_by_id(pseudonyms_in(found)))
    return {row["target_label"]: ChangeOf(row["actor_label"], row["at"]) for row in shown}


def who_last(action: str, target_type: str, target_id: UUID) -> UUID | None:
    """Return the user behind the latest such entry: the key's creator for API-key actions, None for system actions."""
    rows = AuditEntry.objects.filter(action=action, target_type=target_type, target_id=str(target_id))
    kind, who = rows.order_by("-seq").values_list("actor_type", "actor_id").first() or ("", None)
    if kind == "api_key" and who is not None:
        return ApiKey.objects.filter(id=who).values_list("created_by_id", flat=True).first()
    return who if kind == "user" else None


def export(actor: Actor, first: int = 1, last: int | None = None) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the entries from `first` to `last` in order with both hashes, and checkpoints, for a stand-alone verifier.

    Page by page, each read by itself: see `scoped_pages`. What is entered after the first page is read is not in them.
    `people` has the labels of the pseudonyms in the entry, `salts` what proves them, `origin` address and program of the
    request, which nothing proves. `withheld` marks entries about objects hidden from the actor: their texts are left out, so that their own
    hash cannot be computed, but they link to the entries before and after them like all others.
    """
    newest = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
    last = newest if last is None else min(last, newest)
    for start in range(max(first, 1), last + 1, EXPORTED_AT_ONCE):
        within = {"seq__gte": start, "seq__lte": min(start + EXPORTED_AT_ONCE - 1, last)}
        signed = exported(AuditCheckpoint.objects.filter(**within).order_by("seq"))
        rows = AuditEntry.objects.filter(**within).order_by("seq").values("prev_hash", "hash", *FIELDS)
        yield list(with_checkpoints(_proved(actor, list(rows)), signed))


def with_checkpoints(
    entries: Iterable[Mapping[str, Any]], signed: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield entries in order, each followed by the checkpoint that signs it, if there is one."""
    left = iter(signed)
    following = next(left, None)
    for entry in entries:
        yield entry
        if following is not None and following["seq"] == entry["seq"]:
            yield {"checkpoint": following}
            following = next(left, None)


def _proved(actor: Actor, rows: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield stored entries with what a verifier needs, redacted for the actor."""
    shown = withhold(actor, list(rows))
    known = subjects_by_id({*pseudonyms_in(shown), *(row["subject"] for row in rows if row["subject"])})
    for row, seen in zip(rows, shown, strict=True):
        named = [known[one] for one in pseudonyms_in(seen) if one in known]
        people = {pseudonym(one.id): one.label for one in named}
        salts = {pseudonym(one.id): one.salt for one in named if one.salt}
        origin = origin_of(row, known)
        proof = {"people": people, "salts": salts, "origin": origin, "withheld": seen is not row}
        yield {**seen, "operation": operation_of(seen["action"]), **proof}


def lines_of(pages: Iterable[list[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield what `export` yields as lines of JSON, without their ends."""
    for entry in chain.from_iterable(pages):
        yield json.dumps(plain(entry), sort_keys=True, ensure_ascii=False)


def export_lines_of(actor: Actor, first: int = 1, last: int | None = None) -> Iterator[str]:
    """Yield the same while no scope is open: each page is read in a scope of the actor's tenant that ends before it is sent."""
    return lines_of(scoped_pages(actor.tenant_id, export(actor, first, last)))


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the rows in lists of at most `size`."""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some
