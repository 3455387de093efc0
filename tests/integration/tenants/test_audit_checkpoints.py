"""Signed checkpoints: due by time or number, kept outside the database, and what they find that a chain cannot."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from psycopg.rows import dict_row

from models_app.object_store import s3 as store
from tenants import operations
from tenants.access.actor import Actor
from tenants.audit import AuditAction, checkpoints, operation, queries, record
from tenants.audit.chain import GENESIS, link
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import AuditCheckpoint, OutboxMessage, Tenant
from tenants.operators import grants
from tenants.tasks import sign_checkpoints
from tests.support import factories

if TYPE_CHECKING:
    from tests.conftest import DemoClock
    from tests.support.servers.services import S3

pytestmark = pytest.mark.django_db(transaction=True)

Role = Callable[[], AbstractContextManager[None]]
VERIFIER = Path(__file__).parents[3] / "deploy/verify_audit.py"
ODD = AuditAction("tests.thing.oddly_named")
REWRITTEN = "SET session_replication_role = replica"


@pytest.fixture
def tenant(settings: Any, s3: Any) -> Tenant:
    """A tenant with three entries, in an installation that signs."""
    key = base64.b64encode(bytes(range(32))).decode()
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"audit_key": key})
    tenant = factories.make_tenant("works")
    for number in range(2):
        operations.create_project(actor=factories.actor_for(tenant), slug=f"p{number}", name=f"P {number}")
    return tenant


def public_key() -> str:
    return base64.b64encode(checkpoints.signing_key().public_key().public_bytes_raw()).decode()


def signed(tenant: Tenant, as_control: Role) -> list[int]:
    with as_control():
        sign_checkpoints()
    with tenant_scope(tenant.id):
        return list(AuditCheckpoint.objects.order_by("seq").values_list("seq", flat=True))


def rewrite(superuser: psycopg.Connection, tenant: Tenant) -> None:
    """Change the second entry, and every hash after it, and the head, as a superuser can."""
    superuser.execute(REWRITTEN)
    superuser.execute(
        "UPDATE tenants_auditentry SET target_label = 'nothing' WHERE tenant_id = %s AND seq = 2", [tenant.id]
    )
    with superuser.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT * FROM tenants_auditentry WHERE tenant_id = %s ORDER BY seq", [tenant.id]
        ).fetchall()
    previous, seq = GENESIS, 0
    for row in rows:
        digest, seq = link(previous, row), row["seq"]
        superuser.execute(
            "UPDATE tenants_auditentry SET prev_hash = %s, hash = %s WHERE id = %s", [previous, digest, row["id"]]
        )
        previous = digest
    superuser.execute(
        "UPDATE tenants_audithead SET seq = %s, hash = %s WHERE tenant_id = %s", [seq, previous, tenant.id]
    )


def export(tenant: Tenant, folder: Path, query: str = "") -> Path:
    key = factories.make_api_key(tenant)
    response = Client(headers={"Authorization": f"Bearer {key}"}).get(f"/api/v1/audit/export/{query}")
    file = folder / "audit.jsonl"
    file.write_bytes(b"".join(response.streaming_content))
    return file


def verified(file: Path, *more: str) -> tuple[int, str]:
    """Run the verifier as somebody without Exchequer does."""
    command = [sys.executable, "-I", str(VERIFIER), str(file), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    return done.returncode, done.stdout + done.stderr


def found(log: Tenant | str, *, last: int, covered: int = 0, first: int = 1, withheld: int = 0) -> str:
    """Return what the verifier prints of a valid log."""
    name, others = log if isinstance(log, str) else log.id, last - max(covered, first - 1)
    signed = f"signed checkpoints (need --public-key) cover up to entry {covered or 'NONE'}, not the {others} others"
    valid = f"entries {first} to {last} are valid; NOT verified: {withheld} withheld, 0 names"
    return f"{name}: {valid}\n{name}: {signed}\n"


def test_an_auditor_reads_the_verifier_in_one_sitting() -> None:
    assert len(VERIFIER.read_text().splitlines()) < 150


def test_a_chain_is_signed_with_its_first_entry_and_again_after_ten_minutes_or_a_thousand_entries(
    tenant: Tenant, as_control: Role, demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signed(tenant, as_control) == [3]
    operations.create_project(actor=factories.actor_for(tenant), slug="p3", name="P 3")
    assert signed(tenant, as_control) == [3]
    demo_clock.advance(timedelta(minutes=10))
    assert signed(tenant, as_control) == [3, 4]
    monkeypatch.setattr(checkpoints, "EVERY_ENTRIES", 2)
    for number in (5, 6):
        operations.create_project(actor=factories.actor_for(tenant), slug=f"p{number}", name=f"P {number}")
    assert signed(tenant, as_control) == [3, 4, 6]
    assert signed(tenant, as_control) == [3, 4, 6], "nothing happened since"


def test_a_checkpoint_lies_in_the_store_before_it_lies_in_the_database(
    tenant: Tenant, as_control: Role, settings: Any
) -> None:
    given = settings.EXCHEQUER
    settings.EXCHEQUER = given.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(SweepFailed):
        signed(tenant, as_control)
    settings.EXCHEQUER = given
    assert signed(tenant, as_control) == [3]
    with store.opened(f"audit/{tenant.id}/{3:012d}.jsonl") as body:
        said = json.loads(body.read())
    assert checkpoints.signature_fault(said, {said["key_id"]: base64.b64decode(public_key())}) == ""
    assert (said["chain"], said["seq"]) == (str(tenant.id), 3)


def test_a_process_without_the_key_signs_nothing(tenant: Tenant, as_control: Role, settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"audit_key": ""})
    assert signed(tenant, as_control) == []


def test_no_process_changes_a_checkpoint(tenant: Tenant, as_control: Role) -> None:
    assert signed(tenant, as_control) == [3]
    for table in ("tenants_auditcheckpoint", "tenants_platformcheckpoint", "tenants_auditpublickey"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET id = id"):
            with as_control(), pytest.raises(DatabaseError), connection.cursor() as cursor:
                cursor.execute(statement)


def test_a_chain_that_was_rewritten_whole_contradicts_what_was_signed(
    tenant: Tenant, as_control: Role, superuser: psycopg.Connection, tmp_path: Path
) -> None:
    assert signed(tenant, as_control) == [3]
    assert verified(export(tenant, tmp_path), "--public-key", public_key())[0] == 0
    rewrite(superuser, tenant)
    with as_control(), pytest.raises(CommandError, match="the log was rewritten: entry 3"):
        call_command("verify_audit")
    file = export(tenant, tmp_path)
    assert verified(file)[0] == 0, "the chain alone is valid"
    code, said = verified(file, "--public-key", public_key())
    assert (code, "entry 3 is not the one that was signed" in said) == (1, True)
    # Nor does a new signature under a key of one's own help, nor a log without checkpoints beside those of the store.
    other = base64.b64encode(bytes(32)).decode()
    assert verified(file, "--public-key", other)[0] == 1


def test_a_table_of_checkpoints_that_was_rewritten_with_its_chain_contradicts_the_store(
    tenant: Tenant, as_control: Role, superuser: psycopg.Connection, settings: Any, capsys: Any
) -> None:
    assert signed(tenant, as_control) == [3]
    with as_control():
        call_command("verify_audit", "--tenant", "works")
    assert "1 signed checkpoints in the object store agree\n" in capsys.readouterr().out
    rewrite(superuser, tenant)
    superuser.execute("DELETE FROM tenants_auditcheckpoint")
    with as_control():
        call_command("verify_audit", "--tenant", "works", "--database-only")
        with pytest.raises(CommandError, match=r"entry 3 is not the one that was signed .* in the object store"):
            call_command("verify_audit", "--tenant", "works")
    superuser.execute("DELETE FROM tenants_auditentry WHERE seq = 3")
    superuser.execute("UPDATE tenants_audithead h SET seq = 2, hash = e.hash FROM tenants_auditentry e WHERE e.seq = 2")
    with as_control():
        call_command("verify_audit", "--tenant", "works", "--to", "2")
        with pytest.raises(CommandError, match=r"entry 3 is not the one that was signed .* in the object store"):
            call_command("verify_audit")
        given = settings.EXCHEQUER
        settings.EXCHEQUER = given.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
        with pytest.raises(CommandError, match=r"could not be compared .* --database-only"):
            call_command("verify_audit")
        settings.EXCHEQUER = given


def test_a_bucket_that_locks_shows_a_checkpoint_that_was_removed_there(
    tenant: Tenant, as_control: Role, superuser: psycopg.Connection, settings: Any, s3: S3, capsys: Any
) -> None:
    bucket, client = f"locked-{tenant.id}", store.client(os.getpid(), s3.endpoint_url)
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"audit_bucket": bucket})
    assert signed(tenant, as_control) == [3]
    (version,) = store.versions(f"audit/{tenant.id}/", bucket)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=version.key, VersionId=version.id)
    client.delete_object(Bucket=bucket, Key=version.key)
    with as_control():
        call_command("verify_audit", "--tenant", "works")
        assert "1 signed checkpoints in the object store agree\n" in capsys.readouterr().out
        rewrite(superuser, tenant)
        superuser.execute("DELETE FROM tenants_auditcheckpoint")
        with pytest.raises(CommandError, match=r"entry 3 is not the one that was signed .* in the object store"):
            call_command("verify_audit", "--tenant", "works")


def test_a_file_of_the_store_that_is_not_its_checkpoint_or_is_gone_is_named(
    tenant: Tenant, as_control: Role, demo_clock: DemoClock, capsys: Any
) -> None:
    assert signed(tenant, as_control) == [3]
    demo_clock.advance(timedelta(minutes=10))
    operations.create_project(actor=factories.actor_for(tenant), slug="p3", name="P 3")
    assert signed(tenant, as_control) == [3, 4]
    first, second = (f"audit/{tenant.id}/{seq:012d}.jsonl" for seq in (3, 4))
    store.delete([first])
    with as_control():
        call_command("verify_audit", "--tenant", "works")
    assert "1 signed checkpoints in the object store agree; 1 more have no file there" in capsys.readouterr().out
    with store.opened(second) as body:
        content = body.read()
    for key, data in (
        (first, content),
        (first, b"[]"),
        (second, content.replace(b'"signature": "', b'"signature": "00')),
    ):
        store.put_small(key, data)
        with as_control(), pytest.raises(CommandError, match="in the object store"):
            call_command("verify_audit", "--tenant", "works")
        store.delete([first])


def test_the_operator_log_is_signed_too(
    tenant: Tenant, as_control: Role, superuser: psycopg.Connection, capsys: Any
) -> None:
    with as_control():
        grants.grant("ana@example.org", "platform_admin", password=factories.PASSWORD)
        sign_checkpoints()
        call_command("verify_audit")
    superuser.execute(REWRITTEN)
    superuser.execute("DELETE FROM tenants_operatoract")
    superuser.execute("UPDATE tenants_operatorhead SET seq = 0, hash = %s", [GENESIS])
    with as_control(), pytest.raises(CommandError, match="operator log: the log was rewritten: entry 1"):
        call_command("verify_audit")


def test_a_part_is_exported_and_verified(tenant: Tenant, as_control: Role, tmp_path: Path) -> None:
    assert signed(tenant, as_control) == [3]
    file = export(tenant, tmp_path, "?from=2&to=3")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line.get("seq", "checkpoint") for line in lines] == [2, 3, "checkpoint"]
    assert verified(file, "--public-key", public_key()) == (0, found(tenant, first=2, last=3, covered=3))
    file.write_text("\n".join(json.dumps(line | {"reason": "x"} if line.get("seq") == 3 else line) for line in lines))
    assert verified(file) == (1, f"NOT VALID: {tenant.id}: entry 3 was changed after it was written\n")
    with as_control():
        call_command("verify_audit", "--tenant", "works", "--from", "2", "--to", "3")
        with pytest.raises(CommandError, match="Name the --tenant"):
            call_command("verify_audit", "--from", "2")
    key = factories.make_api_key(tenant)
    refused = Client(headers={"Authorization": f"Bearer {key}"}).get("/api/v1/audit/export/?from=x")
    assert refused.status_code == 400


def test_an_export_holds_no_transaction_while_it_is_sent(
    tenant: Tenant, as_control: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "EXPORTED_AT_ONCE", 2)
    assert signed(tenant, as_control) == [3]
    response = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"}).get(
        "/api/v1/audit/export/"
    )
    lines = []
    for line in response.streaming_content:
        lines.append(line.decode())
        assert not connection.in_atomic_block
        operations.create_project(
            actor=factories.actor_for(tenant), slug=f"late{len(lines)}", name=f"Late {len(lines)}"
        )
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(lines))
    said = found(tenant, last=5, covered=3)
    assert verified(file, "--public-key", public_key()) == (0, said), "with the key and the export, not what came later"


#: Texts that would forge a line, or act on a terminal.
ODD_TEXTS = (
    'a "name"\u2028\r\n{"seq": 9}\x1b[2J of\tmine', "\x9b31m", "\x85next", "\u2029", "\x0b\x0c\x1c\x1d\x1e", "\u202egnp.exe",
    "\ufeff\u200b", "\x7f\x08\x08", "\x1b]0;title\x07", "\\", "',\"}", "\ud7ff\uffff", "x" * 254,
)  # fmt: skip


@operation(ODD)
def odd(*, actor: Actor) -> None:
    """Record all odd texts, each as a name, a reason and a change."""
    for text in ODD_TEXTS:
        record(ODD, actor=actor, target=("thing", "1", text), reason=text, changes={"name": [text, None]})


def test_a_siem_drains_each_entry_once(tenant: Tenant, as_control: Role, tmp_path: Path) -> None:
    file = tmp_path / "drained.jsonl"

    def drained(*since: str) -> list[dict[str, Any]]:
        with as_control(), file.open("w" if not since else "a") as out:
            start = out.tell()
            call_command("audit_drain", "--tenant", "works", *since, stdout=out)
        return [json.loads(line) for line in file.read_text()[start:].splitlines()]

    first = drained()
    assert [one["seq"] for one in first[:-1]] == [1, 2, 3]
    odd(actor=factories.actor_for(tenant))
    second = drained("--since", str(file))
    last = 3 + len(ODD_TEXTS)
    assert [one["seq"] for one in second[:-1]] == list(range(4, last + 1)), "one entry, one line"
    assert second[-1] == {"cursor": {str(tenant.id): last}}
    assert drained("--since", json.dumps(second[-1])) == [second[-1]]
    assert all(line.isprintable() for line in file.read_text().splitlines()), "nothing acts on a terminal"
    with as_control(), pytest.raises(CommandError, match="no cursor"):
        call_command("audit_drain", "--since", "{nonsense")


def test_a_siem_drains_the_operator_log_by_a_cursor_of_its_own(
    tenant: Tenant, as_control: Role, tmp_path: Path
) -> None:
    def drained(*since: str) -> list[dict[str, Any]]:
        file = tmp_path / "drained.jsonl"
        with as_control(), file.open("w") as out:
            call_command("audit_drain", *since, stdout=out)
        return [json.loads(line) for line in file.read_text().splitlines()]

    with as_control():
        grants.grant("ana@example.org", "platform_admin", password=factories.PASSWORD)
        sign_checkpoints()
    first = drained()
    (act,) = [one for one in first if one.get("action") == "tenants.operator.appointed"]
    assert (act["seq"], act["operation"], "tenant_id" in act) == (1, "create", False)
    assert [one["checkpoint"]["chain"] for one in first if "checkpoint" in one] == [str(tenant.id), "platform"]
    assert first[-1] == {"cursor": {str(tenant.id): 3, "platform": 1}}
    key = ("--public-key", public_key())
    valid = found(tenant, last=3, covered=3) + found("platform", last=1, covered=1)
    assert verified(tmp_path / "drained.jsonl", *key) == (0, valid), "both logs, and what signed them"
    act["target_label"] = "eve@example.org: platform_admin"
    (tmp_path / "forged.jsonl").write_text("\n".join(json.dumps(one) for one in first))
    fault = "NOT VALID: platform: entry 1 was changed after it was written\n"
    assert verified(tmp_path / "forged.jsonl", *key) == (1, fault)
    with as_control():
        grants.grant("ana@example.org", "platform_finance")
    second = drained("--since", json.dumps(first[-1]))
    assert [(one["seq"], one["target_label"]) for one in second[:-1]] == [(2, "ana@example.org: platform_finance")]
    older = drained("--since", json.dumps({str(tenant.id): 3}))
    assert [one.get("seq") for one in older[:-1]] == [1, None, 2], "a cursor of before starts the operator log"


@operation(ODD)
def naming(*, actor: Actor, address: str) -> None:
    """Record a text that names a person."""
    record(ODD, actor=actor, target=("thing", "1", address))


@pytest.fixture
def log(tenant: Tenant, as_control: Role, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """An export that names a person, with its lines."""
    for name in ("mei", "noa"):
        naming(actor=factories.actor_for(tenant), address=f"{name}@works.example")
    assert signed(tenant, as_control) == [5]
    file = export(tenant, tmp_path)
    return file, [json.loads(line) for line in file.read_text().splitlines()]


def forged(file: Path, lines: list[dict[str, Any]]) -> tuple[int, str]:
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return verified(file, "--public-key", public_key())


def test_an_entry_that_calls_itself_withheld_is_not_accepted_unread(
    tenant: Tenant, log: tuple[Path, list[dict[str, Any]]]
) -> None:
    file, lines = log
    assert verified(file, "--public-key", public_key())[0] == 0
    lines[1] |= {"withheld": True, "action": "tenants.tenant.closed"}
    code, said = forged(file, lines)
    assert (code, "entry 2 is withheld from its reader; --allow-withheld accepts it unread" in said) == (1, True)
    said = found(tenant, last=lines[-1]["seq"], covered=5, withheld=1)
    assert verified(file, "--public-key", public_key(), "--allow-withheld") == (0, said)


def test_the_names_of_people_are_proved_by_their_pseudonyms(log: tuple[Path, list[dict[str, Any]]]) -> None:
    file, lines = log
    named = {
        person: line for line in lines if "seq" in line for person, label in line["people"].items() if "@works" in label
    }
    assert len(named) == 2 and all(person[21] == "8" for person in named)
    (mei, line), (_, other) = named.items()
    line["people"][mei] = next(iter(other["people"].values()))
    code, said = forged(file, lines)
    assert (code, "the name was changed" in said) == (1, True)
    line["salts"] = {}
    assert forged(file, lines)[0] == 1, "no name without what proves it"


def test_checkpoints_of_the_store_find_a_log_that_was_cut_or_rewritten(
    log: tuple[Path, list[dict[str, Any]]], tenant: Tenant, as_control: Role, tmp_path: Path
) -> None:
    file, _ = log
    other = factories.make_tenant("other")
    signed(other, as_control)
    kept, key = tmp_path / "audit", ("--public-key", public_key())
    for one in store.listing("audit/"):
        (tmp_path / one.key).parent.mkdir(parents=True, exist_ok=True)
        with store.opened(one.key) as body:
            (tmp_path / one.key).write_bytes(body.read())
    operations.create_project(actor=factories.actor_for(tenant), slug="late", name="Late")
    export(tenant, tmp_path)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    entries = [line for line in lines if "seq" in line]
    assert forged(file, entries) == (0, found(tenant, last=entries[-1]["seq"]))
    code, said = verified(file, str(kept), *key)
    assert (code, found(tenant, last=entries[-1]["seq"], covered=5) in said) == (0, True), said
    assert "checkpoints are of other logs" in said
    forged(file, entries[:4])
    code, said = verified(file, str(kept), *key)
    assert (code, "the log ends at entry 4, but entry 5 was signed" in said) == (1, True)
    assert verified(file, str(kept), *key, "--part")[0] == 0
    forged(file, entries)
    (tmp_path / "body.jsonl").write_text(json.dumps({"type": "audit.checkpoint", "data": lines[5]["checkpoint"]}))
    code, said = verified(file, str(tmp_path / "body.jsonl"), *key, *key)
    assert (code, "cover up to entry 5" in said) == (0, True), "as a webhook receives it"
    (kept / str(tenant.id) / f"{5:012d}.jsonl").write_text(json.dumps(lines[5]["checkpoint"] | {"hash": "00" * 32}))
    code, said = verified(file, str(kept), *key)
    assert (code, "no key that was given signed the checkpoint at entry 5" in said) == (1, True)


def test_who_chooses_it_receives_each_checkpoint_by_email_and_verifies_with_it(
    tenant: Tenant, as_control: Role, tmp_path: Path
) -> None:
    people = {
        role: factories.make_member(tenant, role, f"{role}@works.example") for role in ("admin", "finance", "viewer")
    }
    for role in ("finance", "viewer"):
        person = Client(headers={"X-Exchequer-Tenant": "works"})
        person.force_login(people[role])
        wanted = {"topic": "audit_checkpoints", "bell": False, "email": True}
        assert person.put("/api/v1/notifications/choices/", wanted, "application/json").status_code == 200
    (seq,) = signed(tenant, as_control)
    with tenant_scope(tenant.id):
        waiting = OutboxMessage.objects.filter(topic="tenants.NotificationRaised", delivered_at=None)
        messages = list(waiting.values_list("id", flat=True))
    mail.outbox.clear()
    with as_control():
        for message in messages:
            outbox.deliver(message, tenant.id)
    (sent,) = [one for one in mail.outbox if "Checkpoint of the audit log" in one.subject]
    assert sent.to == ["finance@works.example"], "who chose it and may read the log"
    (line,) = [one for one in sent.body.splitlines() if one.startswith("{")]
    (tmp_path / "kept.jsonl").write_text(line)
    code, said = verified(export(tenant, tmp_path), str(tmp_path / "kept.jsonl"), "--public-key", public_key())
    assert (code, f"cover up to entry {seq}" in said) == (0, True)


def test_without_the_key_the_verdict_says_what_was_not_verified(log: tuple[Path, list[dict[str, Any]]]) -> None:
    file, _ = log
    assert "cover up to entry NONE" in verified(file)[1]
    for text in ("", "nonsense", "[1]", '{"seq": 1}'):
        file.write_text(text)
        code, said = verified(file)
        assert code == 1 and said.startswith("NOT VALID: ") and "Traceback" not in said, said


def test_a_member_who_reads_the_log_reads_the_keys_that_sign_it(tenant: Tenant, as_control: Role) -> None:
    assert signed(tenant, as_control) == [3]
    key = factories.make_api_key(tenant)
    (found,) = Client(headers={"Authorization": f"Bearer {key}"}).get("/api/v1/audit/keys/").json()
    assert found["public_key"] == public_key()
