"""G-c1: the 25 newest of a million visible jobs, with all isolation on, against guardian and against bare SQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from uuid import UUID

import psycopg

from bench.rows import Options, Row, figure, interleaved

TENANTS, CALLS, PAGE = 200, 12, 25
JOBS_EACH, FEW_JOBS = 5_000, 50
FILL = """
SET session_replication_role = replica;
INSERT INTO tenants_tenant ({tenants_tenant[0]}) SELECT {tenants_tenant[1]} FROM generate_series(1, {tenants}) t;
INSERT INTO tenants_project ({tenants_project[0]}) SELECT {tenants_project[1]} FROM generate_series(1, {tenants}) t;
INSERT INTO compute_job ({compute_job[0]})
  SELECT {compute_job[1]} FROM generate_series(1, {tenants}) t, generate_series(1, {each}) j;
INSERT INTO auth_group (id, name) SELECT t, 'tenant-' || t FROM generate_series(1, {tenants}) t;
INSERT INTO guardian_groupobjectpermission (object_pk, content_type_id, group_id, permission_id)
  SELECT j.id::text, {content_type}, t, {permission} FROM generate_series(1, {tenants}) t
  JOIN compute_job j ON j.tenant_id = md5('tenant' || t)::uuid;
ANALYZE;
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


@figure("G-c1")
def permission_list(options: Options) -> Iterator[Row]:
    """Measure lists a second: as shipped (membership, role, scope, row security), by guardian, and as bare SQL."""
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType
    from django.db import connection
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from guardian.shortcuts import get_objects_for_user

    from compute import queries
    from compute.models import Job
    from tenants.identity import authentication
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import User

    request = HttpRequest()
    person, tenant_id = _fill(options, ContentType, Permission, Job)
    user = User.objects.get(id=person)

    def shipped() -> list[UUID]:
        with authentication.entering_as_member(request, user, tenant_id) as entered:
            assert entered is not None
            entered[0].require("jobs.view")
            return [row.id for row in queries.job_list(queries.JobFilter(), limit=PAGE)[:PAGE]]

    def guardian() -> list[UUID]:
        fresh = User.objects.get(id=person)
        with tenant_scope(tenant_id):
            rows = get_objects_for_user(fresh, "compute.view_job", klass=QuerySet(Job), with_superuser=False)
            return [row.id for row in rows.order_by("-id")[:PAGE]]

    bare = psycopg.connect(options.environment("app")["DATABASE_URL"])

    def plain_sql() -> list[UUID]:
        with bare.transaction(), bare.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant_id)])
            cursor.execute(
                "SELECT * FROM compute_job WHERE tenant_id = %s ORDER BY id DESC LIMIT %s", [tenant_id, PAGE]
            )
            return [row[0] for row in cursor.fetchall()]

    if not shipped() == guardian() == plain_sql():
        raise AssertionError("the three lists differ")
    sides: dict[str, Callable[[], float]] = {
        "shipped": lambda: _rate(shipped),
        "guardian": lambda: _rate(guardian),
        "bare SQL": lambda: _rate(plain_sql),
    }
    found = interleaved(options.rounds, sides)
    bare.close()
    connection.close()
    absolute = {f"{name} lists/s": value for name, value in found.items()}
    yield Row(
        "G-c1", "25 newest of 1M jobs", found["shipped"] / found["guardian"], 25.0, "guardian, same locks", absolute
    )
    yield Row(
        "G-c1", "25 newest of 1M jobs", found["shipped"] / found["bare SQL"], 1 / 1.5, "bare SQL with row security"
    )


def _rate(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(CALLS):
        call()
    return CALLS / (time.perf_counter() - begun)


def _fill(options: Options, content_types: type, permissions: type, job: type) -> tuple[UUID, UUID]:
    """Write 200 tenants with 5,000 jobs each and guardian's grants for them; return a person and their tenant."""
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Membership, User
    from tenants.rights import held

    model = job._meta  # type: ignore[attr-defined]
    content_type = content_types.objects.get_by_natural_key(model.app_label, model.model_name)  # type: ignore[attr-defined]
    permission = permissions.objects.get(content_type=content_type, codename="view_job")  # type: ignore[attr-defined]
    tenant = UUID(options.superuser("SELECT md5('tenant7')::uuid::text"))
    statement = FILL.format(
        tenants=TENANTS,
        each=options.size(JOBS_EACH, FEW_JOBS),
        **{
            table: _columns(options, table, given)
            for table, given in (("tenants_tenant", TENANT), ("tenants_project", PROJECT), ("compute_job", JOB))
        },
        content_type=content_type.id,
        permission=permission.id,
    )
    options.superuser(statement)
    # Through the models, which know the required columns of a person and a membership.
    person: UUID = User.objects.create(email="p@example.org", password="").id
    with tenant_scope(tenant):
        held.give(Membership.objects.create(user_id=person), "viewer")
    options.superuser(f"INSERT INTO tenants_user_groups (user_id, group_id) VALUES ('{person}', 7)")
    return person, tenant


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
