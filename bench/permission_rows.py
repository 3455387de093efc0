"""A million jobs of 200 tenants, guardian's grants for them, and two people: what G-c1 to G-c4 read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import psycopg

from bench.rows import Options

TENANTS, PAGE = 200, 25
#: The jobs of a tenant, of the one that grew, and of one that has just begun; 50 tenants for the second person.
JOBS_EACH, JOBS_GROWN, JOBS_BEGUN, MANY = 4_000, 200_000, 2_000, 50
GROWN, BEGUN, ONE = 8, 9, 7
CALLS, FEW_CALLS = 12, 1

FILL = """
SET session_replication_role = replica;
INSERT INTO tenants_tenant ({tenants_tenant[0]}) SELECT {tenants_tenant[1]} FROM generate_series(1, {tenants}) t;
INSERT INTO tenants_project ({tenants_project[0]}) SELECT {tenants_project[1]} FROM generate_series(1, {tenants}) t;
INSERT INTO compute_job ({compute_job[0]})
  SELECT {compute_job[1]} FROM generate_series(1, {tenants}) t,
    generate_series(1, CASE t WHEN {grown} THEN {jobs_grown} WHEN {begun} THEN {jobs_begun} ELSE {each} END) j;
INSERT INTO auth_group (id, name) SELECT t, 'tenant-' || t FROM generate_series(1, {tenants}) t;
INSERT INTO guardian_groupobjectpermission (object_pk, content_type_id, group_id, permission_id)
  SELECT j.id::text, {content_type}, t, {permission} FROM generate_series(1, {tenants}) t
  JOIN compute_job j ON j.tenant_id = md5('tenant' || t)::uuid;
"""
TENANT = {
    "id": "md5('tenant' || t)::uuid",
    "slug": "'tenant-' || t",
    "name": "'Tenant'",
    "standing": "'active'",
    "timezone": "'UTC'",
    "currency": "'EUR'",
}
PROJECT = {"id": "md5('project' || t)::uuid", "tenant_id": "md5('tenant' || t)::uuid", "slug": "'p'", "name": "'P'"}
JOB = {
    "id": "(lpad(to_hex(1700000000000 + j * 1000 + t), 12, '0') || '7' || substr(md5(t || '-' || j), 1, 19))::uuid",
    "tenant_id": "md5('tenant' || t)::uuid",
    "project_id": "md5('project' || t)::uuid",
    "name": "'job ' || j",
    "kind": "'train'",
    "device_class": "'cpu'",
    "tier": "'on_demand'",
    "state": "'succeeded'",
    "submitted_by_label": "'somebody'",
    "currency": "'EUR'",
    "max_seconds": "60",
    "unit_amount": "0.0001",
    "spec": "'{}'",
}


@dataclass(frozen=True)
class Filled:
    """What was written: two people, members of one tenant and of fifty, and the tenants that are read."""

    of_one: UUID
    of_many: UUID
    tenant: UUID
    grown: UUID
    begun: UUID


def filled(options: Options) -> Filled:
    """Write the rows once a run; the second figure finds them."""
    tenants = {number: UUID(options.superuser(f"SELECT md5('tenant{number}')::uuid::text")) for number in _read()}
    people = [options.superuser(f"SELECT id::text FROM tenants_user WHERE email = '{email}'") for email in PEOPLE]
    if not all(people):
        _write(options)
        people = [_person(options, email, numbers) for email, numbers in PEOPLE.items()]
        # Also the visibility map: a list that reads from the index alone must not be slow for being new.
        options.superuser("VACUUM ANALYZE")
    return Filled(UUID(people[0]), UUID(people[1]), tenants[ONE], tenants[GROWN], tenants[BEGUN])


PEOPLE = {"one@example.org": [ONE], "many@example.org": [ONE, GROWN, BEGUN, *range(10, 10 + MANY - 3)]}


def _read() -> tuple[int, ...]:
    return (ONE, GROWN, BEGUN)


def _write(options: Options) -> None:
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    content_type = ContentType.objects.get_by_natural_key("compute", "job")
    statement = FILL.format(
        tenants=TENANTS,
        each=options.size(JOBS_EACH, PAGE),
        jobs_grown=options.size(JOBS_GROWN, 2 * PAGE),
        jobs_begun=options.size(JOBS_BEGUN, PAGE),
        grown=GROWN,
        begun=BEGUN,
        **{
            table: _columns(options, table, given)
            for table, given in (("tenants_tenant", TENANT), ("tenants_project", PROJECT), ("compute_job", JOB))
        },
        content_type=content_type.id,
        permission=Permission.objects.get(content_type=content_type, codename="view_job").id,
    )
    options.superuser(statement)


def _person(options: Options, email: str, numbers: list[int]) -> str:
    """Make a viewer of these tenants through the models, which know the required columns; return their id."""
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Membership, User
    from tenants.rights import held

    person: UUID = User.objects.create(email=email, password="").id
    for number in numbers:
        with tenant_scope(UUID(options.superuser(f"SELECT md5('tenant{number}')::uuid::text"))):
            held.give(Membership.objects.create(user_id=person), "viewer")
        options.superuser(f"INSERT INTO tenants_user_groups (user_id, group_id) VALUES ('{person}', {number})")
    return str(person)


def _columns(options: Options, table: str, given: dict[str, str]) -> tuple[str, str]:
    """Return the required columns of a table and their values: the given ones, else empty values of their type."""
    nothing = {
        "numeric": "0", "integer": "0", "smallint": "1", "boolean": "false", "jsonb": "'{}'", "text": "''",
        "character varying": "''", "timestamp with time zone": "exchequer_now()",
    }  # fmt: skip
    with psycopg.connect(options.environment("owner")["DATABASE_OWNER_URL"], autocommit=True) as owner:
        columns = owner.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = %s AND is_nullable = 'NO' AND column_default IS NULL",
            [table],
        ).fetchall()
    values = {name: given.get(name, nothing.get(kind, "NULL")) for name, kind in columns}
    return ", ".join(values), ", ".join(values.values())


def shipped_list(person: UUID, tenant: UUID) -> Callable[[], list[UUID]]:
    """Return what the product does for one list: membership, grants and standing, scope, row security, money, places."""
    from django.http import HttpRequest

    from compute import queries
    from tenants.identity import authentication
    from tenants.models import User

    request, user = HttpRequest(), User.objects.get(id=person)

    def read() -> list[UUID]:
        with authentication.entering_as_member(request, user, tenant) as entered:
            assert entered is not None
            entered[0].require("jobs.view")
            return [row.id for row in queries.job_list(queries.JobFilter(), limit=PAGE)[:PAGE]]

    return read


def guardian_list(person: UUID, tenant: UUID) -> Callable[[], list[UUID]]:
    """Return the same list by guardian's `get_objects_for_user`, inside the same locks."""
    from django.db.models import QuerySet
    from guardian.shortcuts import get_objects_for_user

    from compute.models import Job
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import User

    def read() -> list[UUID]:
        fresh = User.objects.get(id=person)
        with tenant_scope(tenant):
            rows = get_objects_for_user(fresh, "compute.view_job", klass=QuerySet(Job), with_superuser=False)
            return [row.id for row in rows.order_by("-id")[:PAGE]]

    return read


def calls_a_second(options: Options, call: Callable[[], object], calls: int = CALLS) -> Callable[[], float]:
    """Return a measure of how often `call` ends in a second."""
    number = options.size(calls, FEW_CALLS)

    def measure() -> float:
        begun = time.perf_counter()
        for _ in range(number):
            call()
        return number / (time.perf_counter() - begun)

    return measure
