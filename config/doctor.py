"""Checks of `manage.py doctor`: what is wrong with this installation, one finding each."""

from __future__ import annotations

import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.conf import settings
from django.contrib.auth import hashers
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from compute.sandbox import probe
from compute.sandbox.sandbox import explained
from compute.scheduling import slots
from config.demo import organisations
from models_app.files import encrypting
from tenants.checks import faults_of, role_faults
from tenants.encryption import keys
from tenants.errors import ExchequerError
from tenants.models import MasterKeyRecord, Tenant, User
from tenants.outbound import client

LEAST_DISK_BYTES = 2 * 1024**3
MOST_CLOCK_DRIFT_S = 2.0

ROLES = ("exchequer_app", "exchequer_control", "exchequer_operator")
LIMITED = """
SELECT r.rolname, coalesce(r.rolconfig::text LIKE '%%statement_timeout=%%', false) AS limited FROM pg_roles r
WHERE r.rolname = ANY(%s)
"""
# A partition is a table too: direct access would bypass its parent's policies.
UNGUARDED = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
ORDER BY 1
"""


@dataclass(frozen=True)
class DoctorFinding:
    """One line of the doctor. `wrong` makes the command fail, `note` is worth knowing."""

    level: Literal["ok", "note", "wrong"]
    subject: str
    text: str


def examine() -> Iterator[DoctorFinding]:
    """Run every check, each on its own: a failing one does not hide the next."""
    questions: tuple[tuple[str, Callable[[], Iterator[DoctorFinding]]], ...] = (
        ("database", database),
        ("roles", roles),
        ("row security", row_security),
        ("migrations", migrations),
        ("clock", clock),
        ("broker", broker),
        ("object store", object_store),
        ("master key", master_key),
        ("fetcher", fetcher),
        ("usage server", usage_server),
        ("serving", serving),
        ("serving slots", serving_slots),
        ("sandbox", sandbox),
        ("disk", disk),
        ("opened folders", opened_folders),
        ("demo", demo),
    )
    for subject, question in questions:
        try:
            yield from question()
        except DatabaseError as error:
            yield DoctorFinding("wrong", subject, f"cannot be asked: {str(error).strip().splitlines()[0]}")


def database() -> Iterator[DoctorFinding]:
    """Does the database answer?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('server_version')")
        user, version = cursor.fetchone()
    yield DoctorFinding("ok", "database", f"PostgreSQL {version} answers {user}")


def roles() -> Iterator[DoctorFinding]:
    """Are the two roles of the product plain ones that own nothing?"""
    with connection.cursor() as cursor:
        cursor.execute(LIMITED, [list(ROLES)])
        limited = dict(cursor.fetchall())
    for name in ROLES:
        if name not in limited:
            yield DoctorFinding("wrong", "roles", f"{name} does not exist: run deploy/roles.sql")
            continue
        faults = [*faults_of(name), *(() if limited[name] else ["has no statement_timeout"])]
        if faults:
            yield DoctorFinding("wrong", "roles", f"{name} {', '.join(faults)}: see deploy/roles.sql")
        else:
            yield DoctorFinding("ok", "roles", f"{name} is a plain role")
    for fault in role_faults():
        yield DoctorFinding("wrong", "roles", f"{fault} No process starts with it: see deploy/roles.sql")


def row_security() -> Iterator[DoctorFinding]:
    """Is every table that holds tenants' rows locked, for its owner too?"""
    with connection.cursor() as cursor:
        cursor.execute(UNGUARDED)
        tables = [row[0] for row in cursor.fetchall()]
    for table in tables:
        yield DoctorFinding(
            "wrong", "row security", f"{table} holds tenants' rows and row security is not forced on it"
        )
    if not tables:
        yield DoctorFinding("ok", "row security", "forced on every table with tenants' rows")


def migrations() -> Iterator[DoctorFinding]:
    """Is the database at the state of the code?"""
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        first = waiting[0][0]
        yield DoctorFinding(
            "wrong",
            "migrations",
            f"{len(waiting)} not applied, the first is {first.app_label}.{first.name}: manage.py migrate",
        )
    else:
        yield DoctorFinding("ok", "migrations", "all applied")


def clock() -> Iterator[DoctorFinding]:
    """Do this machine and the database agree on the time, and is that time the real one?"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp()), extract(epoch FROM exchequer_now() - clock_timestamp())"
        )
        theirs, shift = cursor.fetchone()
    drift = abs(float(theirs) - time.time())
    if drift > MOST_CLOCK_DRIFT_S:
        yield DoctorFinding("wrong", "clock", f"this machine and the database differ by {drift:.1f} s")
    else:
        yield DoctorFinding("ok", "clock", f"within {drift:.3f} s of the database's")
    if abs(float(shift)) > 1:
        yield DoctorFinding("note", "clock", f"a demo clock shifts all times by {float(shift) / 86400:.1f} days")


def broker() -> Iterator[DoctorFinding]:
    """Does the broker answer?"""
    from kombu import Connection

    with Connection(settings.EXCHEQUER.broker_url, connect_timeout=3) as link:
        try:
            link.ensure_connection(max_retries=1, timeout=3)
        except Exception as error:  # noqa: BLE001 (each transport has its own errors)
            yield DoctorFinding("wrong", "broker", f"does not answer ({error}); jobs wait; nothing is lost")
        else:
            yield DoctorFinding("ok", "broker", f"{link.transport.driver_name} answers")


def object_store() -> Iterator[DoctorFinding]:
    """Can an object be written to the bucket, read back and removed?"""
    from models_app.object_store import checkpoint_files, storage

    bucket = settings.EXCHEQUER.s3_bucket
    try:
        works, unlocked = storage.works(), checkpoint_files.lock_fault()
    except ExchequerError as error:
        yield DoctorFinding("wrong", "object store", f"bucket {bucket!r}: {error}")
        return
    if works:
        yield DoctorFinding("ok", "object store", f"bucket {bucket!r} can be written, read and cleared")
    else:
        yield DoctorFinding("wrong", "object store", f"bucket {bucket!r} returns different bytes than were written")
    if unlocked:
        yield DoctorFinding("wrong", "object store", unlocked)


def master_key() -> Iterator[DoctorFinding]:
    """Can this process use the master key, is a copy of it kept elsewhere, and is everything encrypted?"""
    wrong = keys.fault()
    if wrong:
        yield DoctorFinding("wrong", "master key", wrong)
        return
    plain = encrypting.waiting()
    if plain:
        remedy = "the ops worker encrypts them within hours; manage.py encrypt_objects does it now"
        yield DoctorFinding("note", "stored files", f"{plain} are not encrypted: {remedy}")
    record = MasterKeyRecord.objects.filter(current=True).first()
    if record is None or record.backup_confirmed_at:
        yield DoctorFinding("ok", "master key", record.id if record else "nothing is stored with it yet")
        return
    said = f"{record.id}: without it every stored file is lost. Copy it elsewhere, then manage.py confirm_key_backup"
    yield DoctorFinding("note" if settings.EXCHEQUER.demo else "wrong", "master key", said)


def fetcher() -> Iterator[DoctorFinding]:
    """Does the fetcher answer, which asks the servers that tenants name?"""
    try:
        client.ping()
    except client.FetcherUnavailable:
        path = settings.EXCHEQUER.effective_fetcher_socket
        yield DoctorFinding("wrong", "fetcher", f"does not answer at {path}; webhooks wait; nothing is lost")
    else:
        yield DoctorFinding("ok", "fetcher", "answers")


def _ready(what: str, port: int, takes: str, otherwise: str) -> DoctorFinding:
    url = f"http://127.0.0.1:{port}"
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5):  # noqa: S310 (a fixed loopback address)
            return DoctorFinding("ok", what, f"{url} takes {takes}")
    except OSError as error:
        return DoctorFinding("wrong", what, f"{url} does not take {takes} ({error}); {otherwise}")


def usage_server() -> Iterator[DoctorFinding]:
    """Does the usage server take reported usage?"""
    remedy = "senders can use the web server's port meanwhile"
    yield _ready("usage server", settings.EXCHEQUER.ingest_port, "usage", remedy)


def serving() -> Iterator[DoctorFinding]:
    """Does the serving node take requests, and is everything that it answered accounted for?"""
    yield _ready("serving", settings.EXCHEQUER.serving_port, "requests", "deployed endpoints do not answer")
    for kept in sorted((Path(settings.EXCHEQUER.home) / "serving").glob("*/spool/*.re[fp]*")):
        remedy = "the log names the cause; fix it, then run `manage.py replay_refused`"
        yield DoctorFinding("wrong", "serving", f"quarantined usage records are in {kept}: {remedy}")


def serving_slots() -> Iterator[DoctorFinding]:
    """Does every endpoint have a slot?"""
    found = slots.slot_counts()
    if not found.waiting:
        yield DoctorFinding("ok", "serving slots", f"{found.free} of {found.offered} are free and no endpoint waits")
        return
    waits = "1 endpoint waits" if found.waiting == 1 else f"{found.waiting} endpoints wait"
    if found.free:
        yield DoctorFinding(
            "note", "serving slots", f"{waits} although {found.free} are free: check the controller, which assigns them"
        )
    else:
        remedy = "set EXCHEQUER_SERVING_SLOTS higher, start another serving node, or undeploy one"
        yield DoctorFinding("wrong", "serving slots", f"{waits} and none of {found.offered} is free: {remedy}")


def sandbox() -> Iterator[DoctorFinding]:
    """Which layers of the sandbox are missing on this machine?"""
    required = settings.EXCHEQUER.sandbox == "required"
    missing = missing_layers()
    for layer in missing:
        yield DoctorFinding("wrong" if required else "note", "sandbox", f"missing on this machine: {explained(layer)}")
    if not missing:
        yield DoctorFinding("ok", "sandbox", "all layers are present")


def missing_layers() -> list[str]:
    """Lock a child down as an attempt is, and return the missing layers."""
    with tempfile.TemporaryDirectory(prefix="exchequer-doctor-") as folder:
        return probe.missing_layers(Path(folder))


def disk() -> Iterator[DoctorFinding]:
    """Is there room for logs, data and the work of attempts?"""
    home = Path(settings.EXCHEQUER.home)
    usage = shutil.disk_usage(home if home.exists() else Path.cwd())
    text = f"{usage.free / 1024**3:.1f} GiB free under {home}"
    yield DoctorFinding("ok" if usage.free > LEAST_DISK_BYTES else "wrong", "disk", text)


def opened_folders() -> Iterator[DoctorFinding]:
    """Which parent folders were opened (o+x) so that the database's user can pass through?"""
    listed = Path(settings.EXCHEQUER.home) / "run" / "opened-folders"
    for folder in listed.read_text().splitlines() if listed.exists() else []:
        yield DoctorFinding("note", "opened folders", f"{folder} was opened for passing through (o+x)")


def demo() -> Iterator[DoctorFinding]:
    """Does an account of the demo still have the password that everybody knows, beside real organisations?"""
    played = organisations.organisations(organisations.MOST)
    if not Tenant.objects.exclude(slug__in=[one.slug for one in played]).exists():
        return
    emails = [organisations.OPERATOR, *(one.email(person) for one in played for person in one.people)]
    known: dict[str, bool] = {}
    for user in User.objects.filter(email__in=emails, is_active=True).order_by("-is_operator", "email"):
        if user.password not in known:
            known[user.password] = hashers.check_password(organisations.PASSWORD, user.password)
        if known[user.password]:
            remedy = f"manage.py operator {user.email} --set-password" if user.is_operator else "remove the account"
            level: Literal["note", "wrong"] = "wrong" if user.is_operator else "note"
            yield DoctorFinding(
                level, "demo", f"{user.email} has the published demo password next to real organisations: {remedy}"
            )
