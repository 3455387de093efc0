"""Queries of the tenants app: all SQL here, frozen dataclasses, keyset pages."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from tenants.access.actor import Actor, InProject
from tenants.access.reader import reader
from tenants.access.rights import NO_RIGHTS, Rights
from tenants.audit.chain import FIELDS
from tenants.audit.differences import named, names_in, sentences
from tenants.audit.withheld import withhold
from tenants.audit.words import act_words
from tenants.identity import authentication
from tenants.isolation.scoping import current_tenant_id
from tenants.models import ApiKey, AuditEntry, Membership, Project, Tenant
from tenants.rights import held

T = TypeVar("T")


@dataclass(frozen=True)
class TenantRow:
    """An organisation for its member."""

    id: UUID
    slug: str
    name: str


@dataclass(frozen=True)
class MemberRow:
    """A person in this tenant. `role` names the roles in the whole tenant, `rights` is what all grants allow together."""

    user_id: UUID
    email: str
    name: str
    role: str
    since: datetime
    rights: Rights = NO_RIGHTS


@dataclass(frozen=True)
class ProjectRow:
    """A project (cost centre)."""

    id: UUID
    slug: str
    name: str
    created_at: datetime


@dataclass(frozen=True)
class ApiKeyRow:
    """An API key without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    parent_key_id: UUID | None
    service_account_id: UUID | None


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
    request_id: str
    hash: str
    target_name: str = ""
    differences: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The label of the action."""
        return act_words(self.action)

    @property
    def long(self) -> bool:
        """Return whether a list of entries collapses the changes."""
        return len(self.differences) > 3 or sum(map(len, self.differences)) > 240


PROJECT = tuple(ProjectRow.__dataclass_fields__)


def tenants_of(user_id: UUID) -> list[TenantRow]:
    """Return the tenants a person belongs to, by name, without those that are closed; needs no open scope."""
    ids = authentication.tenant_ids_of(user_id)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('app.tenants', %s, true)",
                ["{" + ",".join(str(tenant_id) for tenant_id in ids) + "}"],
            )
        return [
            TenantRow(*row)
            for row in Tenant.objects.filter(id__in=ids)
            .exclude(standing="closed")
            .order_by("name")
            .values_list("id", "slug", "name")
        ]


def tenant_by_slug(slug: str) -> Tenant | None:
    """Return a tenant by its short name; only the control role sees tenants outside a scope."""
    return Tenant.objects.filter(slug=slug).first()


def all_tenant_ids(slug: str | None = None) -> list[UUID]:
    """Return every tenant's id, or the one with this short name (control role)."""
    rows = Tenant.objects.order_by("created_at")
    return list((rows.filter(slug=slug) if slug else rows).values_list("id", flat=True))


def members() -> list[MemberRow]:
    """Return the tenant's members by address."""
    rights = held.rights_of_members()
    rows = Membership.objects.order_by("user__email").values_list(
        "id", "user_id", "user__email", "user__name", "created_at"
    )
    return [
        MemberRow(user_id, email, name, own.role, since, own)
        for own, user_id, email, name, since in ((rights.get(row[0], NO_RIGHTS), *row[1:]) for row in rows)
    ]


def approves_alone() -> bool:
    """Return whether the only member of the open tenant may approve their own requests."""
    allowed = Tenant.objects.filter(id=current_tenant_id(), self_approval=True).exists()
    return allowed and Membership.objects.count() == 1


def projects() -> list[ProjectRow]:
    """Return the tenant's projects by short name."""
    return [ProjectRow(*row) for row in Project.objects.order_by("slug").values_list(*PROJECT)]


def projects_for(actor: Actor, permission: str) -> list[ProjectRow]:
    """Return the projects in which the actor has a permission, by short name."""
    return [project for project in projects() if actor.can(permission, InProject(project.id))]


def find_project(text: str) -> ProjectRow | None:
    """Return a project by id or short name, or None."""
    rows = Project.objects.values_list(*PROJECT)
    try:
        row = rows.filter(id=UUID(text)).first()
    except ValueError:
        row = rows.filter(slug=text).first()
    return ProjectRow(*row) if row else None


def api_keys() -> list[ApiKeyRow]:
    """Return the tenant's API keys, newest first."""
    names = list(ApiKeyRow.__dataclass_fields__)
    return [ApiKeyRow(*row) for row in ApiKey.objects.order_by("-created_at", "-id").values_list(*names)]


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Which entries of the audit log to show: those that all of it fits, with nothing given all.

    `acts`: `people` for those of persons and keys, `system` for those of the system. `actor` is part of a label,
    `action` how an action begins.
    """

    actor: str = ""
    acts: str = ""
    action: str = ""
    target_type: str = ""
    target_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERY_ENTRY = EntryFilter()


def audit_entries(only: EntryFilter = EVERY_ENTRY, *, before_seq: int | None = None, limit: int = 50) -> list[AuditRow]:
    """Return up to `limit` + 1 entries, newest first, before a sequence number."""
    rows: QuerySet[AuditEntry] = AuditEntry.objects.order_by("-seq")
    if before_seq is not None:
        rows = rows.filter(seq__lt=before_seq)
    if only.acts:
        rows = rows.exclude(actor_type="system") if only.acts == "people" else rows.filter(actor_type="system")
    if only.actor:
        rows = rows.filter(actor_label__icontains=only.actor)
    if only.action:
        rows = rows.filter(action__startswith=only.action)
    if only.target_type:
        rows = rows.filter(target_type=only.target_type)
    if only.target_id:
        rows = rows.filter(target_id=only.target_id)
    if only.since:
        rows = rows.filter(occurred_at__gte=only.since)
    if only.until:
        rows = rows.filter(occurred_at__lt=only.until)
    stored = [name for name in AuditRow.__dataclass_fields__ if name not in ("target_name", "differences")]
    found = withhold(reader(), list(rows.values(*stored)[: limit + 1]))
    names = names_in((row["target_label"], row["changes"]) for row in found)
    return [
        AuditRow(
            **{**row, "hash": bytes(row["hash"]).hex()},
            target_name=named(row["target_label"], names),
            differences=sentences(row["changes"], names),
        )
        for row in found
    ]


def people_and_projects(ids: set[UUID]) -> dict[UUID, str]:
    """Return the names of those of these ids that are members or projects of the open scope."""
    people = Membership.objects.filter(user_id__in=ids).values_list("user_id", "user__email")
    return dict(people) | dict(Project.objects.filter(id__in=ids).values_list("id", "name"))


def audit_pages(only: EntryFilter = EVERY_ENTRY, *, size: int = 500) -> Iterator[list[AuditRow]]:
    """Yield the filtered entries, newest first, one page at a time; each page is one query."""
    before = None
    while rows := audit_entries(only, before_seq=before, limit=size):
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
    return {label: ChangeOf(actor, at) for label, actor, at in rows}


def who_last(action: str, target_type: str, target_id: UUID) -> UUID | None:
    """Return the user behind the latest such entry: the key's creator for API-key actions, None for system actions."""
    rows = AuditEntry.objects.filter(action=action, target_type=target_type, target_id=str(target_id))
    kind, who = rows.order_by("-seq").values_list("actor_type", "actor_id").first() or ("", None)
    if kind == "api_key" and who is not None:
        return ApiKey.objects.filter(id=who).values_list("created_by_id", flat=True).first()
    return who if kind == "user" else None


def audit_export(actor: Actor) -> Iterator[Mapping[str, Any]]:
    """Stream every entry in order with both hashes in hexadecimal, for a stand-alone verifier.

    `withheld` marks entries about objects hidden from the actor: their texts are left out, so that their own hash
    cannot be computed, but they link to the entries before and after them like all others.
    """
    rows = AuditEntry.objects.order_by("seq").values("prev_hash", "hash", *FIELDS).iterator(chunk_size=2000)
    for some in batched(rows, 500):
        for row, shown in zip(some, withhold(actor, list(some)), strict=True):
            hashes = {name: bytes(row[name]).hex() for name in ("prev_hash", "hash")}
            yield {**shown, **hashes, "withheld": shown is not row}


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the rows in lists of at most `size`."""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some
