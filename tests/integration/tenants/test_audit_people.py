"""Version 2 of the audit log: pseudonyms in the chain, labels under a person's key, forgetting; and the chain of before."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client

from tenants import operations
from tenants.access.actor import Actor
from tenants.audit import erasure
from tenants.audit.chain import link
from tenants.audit.verify import verify
from tenants.clock import now
from tenants.identity import api_keys, invitations, members
from tenants.isolation.scoping import tenant_scope
from tenants.models import (
    ApiKey,
    Approval,
    AuditEntry,
    AuditHead,
    AuditSubject,
    ExternalIdentity,
    IdempotencyKey,
    IdentityProvider,
    Invitation,
    LogInAttempt,
    OutboxMessage,
    ScimUser,
    Tenant,
    User,
)
from tenants.notifications import notifications
from tenants.operators import lifecycle
from tenants.operators.operator import Operator
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.erasure.ended import end_work

pytestmark = pytest.mark.django_db(transaction=True)

Role = Callable[[], AbstractContextManager[None]]
AGENT = "Mozilla/5.0 (of Nora)"
NORA = "nora.lind@example.org"


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("works")


@pytest.fixture
def nora(tenant: Tenant) -> User:
    """A member who has acted on a page, and on whom others have acted."""
    person = factories.make_member(tenant, "admin", NORA)
    client = Client(headers={"User-Agent": AGENT})
    client.force_login(person)
    response = client.post(
        "/api/v1/projects/",
        {"slug": "hers", "name": "Hers"},
        "application/json",
        headers={"X-Exchequer-Tenant": "works"},
    )
    assert response.status_code == 201, response.content
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        members.change_role(actor=owner, user_id=person.id, role="viewer")
    return person


def shown(tenant: Tenant, **query: str) -> list[dict[str, Any]]:
    client = Client(headers={"X-Exchequer-Tenant": tenant.slug})
    client.force_login(factories.make_member(tenant, "owner"))
    return client.get("/api/v1/audit/", {"limit": 100, **query}).json()["results"]


def retained() -> set[str]:
    """Return the tables that the page of retention names as kept when a person is forgotten."""
    page = Path("docs/retention.md").read_text()
    return set(re.findall(r"`(\w+_\w+)`", page.split("When a person is forgotten", 1)[1].split("\n\n", 1)[0])) - {
        "forget_person"
    }


def forget(as_control: Role, email: str = NORA) -> str:
    printed = io.StringIO()
    with as_control():
        call_command("forget_person", email, tenant="works", stdout=printed)
    return printed.getvalue()


def remove(tenant: Tenant, person: User) -> None:
    with tenant_scope(tenant.id):
        members.remove_member(actor=Actor.system(tenant.id, "test"), user_id=person.id)


def test_the_chain_holds_no_personal_text_and_readers_see_it(tenant: Tenant, nora: User) -> None:
    with tenant_scope(tenant.id):
        stored = json.dumps(list(AuditEntry.objects.order_by("seq").values()), default=str)
        assert {row.schema_version for row in AuditEntry.objects.all()} == {2}
        assert verify().ok
    assert "@example.org" not in stored and "Mozilla" not in stored and "127.0.0.1" not in stored
    made, changed = shown(tenant, action="tenants.project.")[0], shown(tenant, action="tenants.member.role")[0]
    assert (made["actor_label"], made["ip"], made["outcome"]) == (NORA, "127.0.0.1", "done")
    assert made["credential"].startswith("session:") and made["on_behalf_of"] is None
    assert changed["target_label"] == NORA
    assert [row["actor_label"] for row in shown(tenant, actor="NORA.lind")] == [NORA]
    assert shown(tenant, actor="person:") == []


def test_a_key_acts_for_its_creator(tenant: Tenant) -> None:
    owner = factories.actor_for(tenant)
    made = api_keys.create_api_key(actor=owner, name="ci", scopes=["projects.manage", "tenant.view"])
    client = Client(headers={"Authorization": f"Bearer {made.secret}"})
    assert client.post("/api/v1/projects/", {"slug": "ci", "name": "By CI"}, "application/json").status_code == 201
    entry = shown(tenant, action="tenants.project.")[0]
    assert (entry["actor_label"], entry["credential"]) == ("ci", f"key:{made.id}")
    assert (entry["on_behalf_of"], entry["ip"]) == (str(owner.id), "127.0.0.1")


def test_forgetting_destroys_the_key_and_the_chain_still_verifies(
    tenant: Tenant, nora: User, as_control: Role, superuser: psycopg.Connection
) -> None:
    with pytest.raises(CommandError, match="still a member"):
        forget(as_control)
    remove(tenant, nora)
    assert "is an erased person now" in forget(as_control, NORA.upper())
    made, forgot = shown(tenant, action="tenants.project.")[0], shown(tenant, action="tenants.person.")[0]
    assert (made["actor_label"], made["ip"]) == ("erased person", "")
    assert shown(tenant, action="tenants.member.role")[0]["target_label"] == "erased person"
    assert (forgot["actor_label"], forgot["changes"]) == ("forget_person", {"labels": [1, 0]})
    assert shown(tenant, actor="nora") == []
    with tenant_scope(tenant.id):
        assert verify().ok
    kept = superuser.execute(
        "SELECT count(*) FROM tenants_auditsubject WHERE erased_at IS NOT NULL AND num_nonnulls(reference, data_key_id, wrapped, label) > 0"
    ).fetchone()
    assert kept == (0,)
    assert "no label" in forget(as_control)


def test_a_person_who_returns_is_another_pseudonym(tenant: Tenant, nora: User, as_control: Role) -> None:
    remove(tenant, nora)
    forget(as_control)
    with tenant_scope(tenant.id):
        members.add_member(actor=Actor.system(tenant.id, "test"), email=NORA, role="viewer")
    labels = [row["target_label"] for row in shown(tenant, action="tenants.member.")]
    assert labels[0] == NORA and "erased person" in labels


def rewritten_with_a_trigger(admin: psycopg.Connection) -> set[str]:
    """Return the tables that forgetting changes and a trigger guards: each has a row here that the trigger lets nobody end again.

    The aggregation of a meter is one of a few words.
    """
    guarded = admin.execute(
        "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 16 > 0 AND tgtype & 3 = 3"
        " AND tgname <> 'keep_aggregation'"
    ).fetchall()
    return {name for (name,) in guarded} & {one._meta.db_table for one in erasure.searched()}


COLUMNS = """
SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
  AND NOT a.attisdropped AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'jsonb'::regtype, 'bytea'::regtype,
                                            'text[]'::regtype, 'varchar[]'::regtype)
ORDER BY 1, 2
"""


def holding(admin: psycopg.Connection, words: str) -> set[str]:
    """Return the tables with a text, or readable bytes, that hold some words."""
    found = set()
    for table, column, is_bytes in admin.execute(COLUMNS).fetchall():
        text = f"encode({column}, 'escape')" if is_bytes else f"{column}::text"
        if admin.execute(f"SELECT 1 FROM {table} WHERE {text} ILIKE %s LIMIT 1", [f"%{words}%"]).fetchone():
            found.add(table)
    return found


def test_nothing_names_a_forgotten_person_but_what_the_page_of_retention_names(
    tenant: Tenant, as_control: Role, superuser: psycopg.Connection
) -> None:
    ids = one_of_everything(tenant)
    name = "Nora Quillfeather"
    with tenant_scope(tenant.id):
        # Everything above was made by one person, and now the organisation's provider, mail and log-ins know them too.
        person = User.objects.get(email=ApiKey.objects.get(name="a key").created_by)
        User.objects.filter(id=person.id).update(name=name)
        email, provider = person.email, IdentityProvider.objects.get()
        ScimUser.objects.create(user=person, user_name=email, external_id="x", attributes={"displayName": name})
        ExternalIdentity.objects.create(provider=provider, subject=f"s-{email}", user=person, email=email)
        invitations.invite(actor=factories.actor_for(tenant), email=f"an.{email}", role="viewer")
        Invitation.objects.create(
            email=email, role="viewer", token_hash=b"x", invited_by="x", expires_at=now() + timedelta(days=1)
        )
        notifications.notify(permission="jobs.view", kind="x", title="x", body=f"{email} asks", path="jobs/")
        Approval.objects.create(
            kind="join", side="tenant", requester=person.id, requester_label=email, target=email, reason=f"of {email}",
            wanted={"email": email, "name": name}, expires_at=now() + timedelta(days=1),
        )  # fmt: skip
        IdempotencyKey.objects.create(actor_id=person.id, key="x", request_hash=b"x", body={"by": email.upper()})
        OutboxMessage.objects.create(topic="x", payload={"email": email}, last_error=f"no {email}")
        LogInAttempt.objects.create(
            provider=provider, state=b"x", browser=b"x", nonce="x", verifier="x", expires_at=now(),
            outcome={"email": email, "name": name},
        )  # fmt: skip
    end_work(tenant, ids, person)
    asker = User.objects.get(id=ids["user_id"])
    client = Client()
    client.force_login(person)
    client.get("/t/works/")
    before = holding(superuser, email)
    assert {"compute_job", "models_app_dataset", "tenants_scimuser", "tenants_externalidentity"} < before
    assert {"compute_attempt", "compute_allocation", "tenants_approval"} < before, "what has ended, or was answered"
    assert rewritten_with_a_trigger(superuser) == {
        "compute_attempt",
        "compute_allocation",
        "compute_job",
        "tenants_approval",
    }
    assert len(before) >= 18, before
    remove(tenant, person)
    with as_control():
        call_command("forget_person", email, tenant="works", stdout=io.StringIO())
    kept = retained()
    remove(tenant, asker)
    with as_control():
        call_command("forget_person", asker.email, tenant="works", stdout=io.StringIO())
    assert holding(superuser, asker.email) <= kept, "who asked and was answered"
    assert holding(superuser, email) - {"tenants_invitation"} <= kept
    assert holding(superuser, name) <= kept
    longer = superuser.execute("SELECT email FROM tenants_invitation WHERE email ILIKE %s", [f"%{email}"]).fetchall()
    assert longer == [(f"an.{email}",)], "a longer address is another person's"
    assert client.get("/accounts/password/change/").status_code == 302, "their session has ended"
    with tenant_scope(tenant.id):
        assert verify().ok
        assert Invitation.objects.filter(email="erased person", revoked_at=None).count() == 0


def test_the_command_may_write_every_text_of_a_tenant(superuser: psycopg.Connection) -> None:
    assert retained() == erasure.kept()
    denied = [
        (model._meta.db_table, field.column)
        for model in erasure.searched()
        for field in erasure.columns(model)
        if superuser.execute(
            "SELECT has_column_privilege('exchequer_control', %s, %s, 'UPDATE')", [model._meta.db_table, field.column]
        ).fetchone()
        == (False,)
    ]
    assert not denied, " ".join(f"{a}.{b}" for a, b in denied)


def test_no_process_of_the_tenants_side_forgets_or_rewrites_a_label(tenant: Tenant, nora: User) -> None:
    for change in ("erased_at = exchequer_now()", "label = 'x'", "wrapped = NULL", "reference = 'x'"):
        with pytest.raises(DatabaseError), tenant_scope(tenant.id), connection.cursor() as cursor:
            cursor.execute(f"UPDATE tenants_auditsubject SET {change}")
    with pytest.raises(DatabaseError), tenant_scope(tenant.id):
        AuditSubject.objects.all().delete()


def test_the_console_writes_a_pseudonym_and_the_next_process_with_the_key_its_label(
    console: Role,
) -> None:
    asker = Operator(id=uuid4(), label="root@platform.example", roles=("platform_admin",))
    with console():
        tenant_id = lifecycle.create(operator=asker, name="Works", slug="works", owner_email=NORA)
    with console(), tenant_scope(tenant_id):
        entry = AuditEntry.objects.get(action="tenants.tenant.created")
        assert entry.changes["owner"][1].startswith("person:")
    tenant = Tenant(id=tenant_id, slug="works")
    assert "owner set to unknown person" in shown(tenant, action="tenants.tenant.")[0]["differences"]
    with tenant_scope(tenant_id):
        members.add_member(actor=Actor.system(tenant_id, "test"), email=NORA, role="viewer")
        assert verify().ok
    assert f"owner set to {NORA}" in shown(tenant, action="tenants.tenant.")[0]["differences"]


def test_an_older_chain_goes_on_as_version_2(tenant: Tenant, superuser: psycopg.Connection) -> None:
    entry = old_entry(tenant, seq=1)
    superuser.execute("SET session_replication_role = replica")
    superuser.execute("DELETE FROM tenants_auditentry WHERE tenant_id = %s", [tenant.id])
    insert(superuser, entry)
    superuser.execute(
        "UPDATE tenants_audithead SET seq = 1, hash = %s WHERE tenant_id = %s", [entry["hash"], tenant.id]
    )
    operations.create_project(actor=factories.actor_for(tenant), slug="next", name="Next")
    with tenant_scope(tenant.id):
        assert list(AuditEntry.objects.order_by("seq").values_list("schema_version", flat=True)) == [1, 2]
        assert verify().ok
    assert [row["actor_label"] for row in shown(tenant)][-1] == "old@example.org"
    assert shown(tenant, actor="old@")[0]["ip"] == "10.0.0.1"
    # An entry of an earlier version never follows one of a later.
    with tenant_scope(tenant.id):
        head = AuditHead.objects.get()
    late = old_entry(tenant, seq=3, prev_hash=bytes(head.hash))
    insert(superuser, late)
    superuser.execute("UPDATE tenants_audithead SET seq = 3, hash = %s WHERE tenant_id = %s", [late["hash"], tenant.id])
    with tenant_scope(tenant.id):
        check = verify()
    assert (check.bad_seq, check.fault) == (3, "entry 3 has the unexpected version 1")


def old_entry(tenant: Tenant, *, seq: int, prev_hash: bytes = bytes(32)) -> dict[str, Any]:
    """Return an entry as the release before wrote it."""
    entry: dict[str, Any] = {
        "tenant_id": tenant.id,
        "seq": seq,
        "occurred_at": now(),
        "actor_type": "user",
        "actor_id": uuid4(),
        "actor_label": "old@example.org",
        "action": "tenants.tenant.created",
        "target_type": "tenant",
        "target_id": str(tenant.id),
        "target_label": "works",
        "changes": {"name": [None, "Works"]},
        "reason": "",
        "ip": "10.0.0.1",
        "user_agent": "curl",
        "request_id": "r",
        "schema_version": 1,
    }
    return {**entry, "prev_hash": prev_hash, "hash": link(prev_hash, entry)}


def insert(database: psycopg.Connection, entry: dict[str, Any]) -> None:
    row = {
        **entry,
        "changes": json.dumps(entry["changes"]),
        "id": uuid4(),
        "credential": "",
        "error_code": "",
        "outcome": "done",
    }
    names = ", ".join(row)
    database.execute(
        f"INSERT INTO tenants_auditentry ({names}) VALUES ({', '.join(['%s'] * len(row))})",  # type: ignore[arg-type]
        list(row.values()),
    )
