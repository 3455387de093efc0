"""A node without key or credential does its work with what the platform hands it, and is handed nothing else."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.test import Client

from compute.fleet import nodes
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat
from compute.models import Node, Outcome
from models_app.object_store import s3 as store
from models_app.object_store import storage
from tenants.encryption import data_key, handouts
from tenants.encryption.stream import MAGIC
from tests.fakes.runner.kind import TickKind
from tests.integration.compute.test_leases import World, expire
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "the node's own secret"


@pytest.fixture
def world(s3: Any, as_control: Callable[[], AbstractContextManager[None]], superuser: psycopg.Connection) -> World:
    storage.ensure_bucket()
    found = World(as_control)
    node = Node.objects.get(name="n1").id
    digest = hashlib.sha256(SECRET.encode()).digest()
    superuser.execute("INSERT INTO compute_nodesecret (node_id, digest) VALUES (%s, %s)", [node, digest])
    return found


def asked(mine: Claim, what: str, secret: str = SECRET, **more: Any) -> Any:
    """Ask as the node does for its attempt; `more` says otherwise."""
    sent = {
        "tenant": str(mine.job.tenant_id),
        "kind": "attempt",
        "id": str(mine.attempt_id),
        "token": mine.token,
        **more,
    }
    headers = {"Authorization": f"Bearer {secret}"}
    return Client(headers=headers).post(f"/node/v1/{what}/", sent, content_type="application/json")


@pytest.fixture
def as_node(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process be a node: no master key, no credential of the store, only its secret."""
    platform = settings.EXCHEQUER
    bare = {"master_key": "", "master_key_file": "", "aws_access_key_id": "", "aws_secret_access_key": ""}
    node = platform.model_copy(update={**bare, "node_secret": SECRET, "s3_endpoint_url": "http://127.0.0.1:9"})

    def ask(work: handouts.Work, what: str, **more: Any) -> dict[str, Any]:
        settings.EXCHEQUER = platform
        try:
            sent = {"tenant": str(work.tenant_id), "kind": work.kind, "id": str(work.id), "token": work.token, **more}
            headers = {"Authorization": f"Bearer {SECRET}"}
            answer = Client(headers=headers).post(f"/node/v1/{what}/", sent, content_type="application/json")
        finally:
            settings.EXCHEQUER = node
        if answer.status_code != 200:
            raise handouts.NotHandedOut(answer.json()["detail"])
        return dict(answer.json())

    monkeypatch.setattr(handouts, "ask", ask)
    settings.EXCHEQUER = node
    yield
    settings.EXCHEQUER = platform


def test_a_node_stores_and_reads_what_its_attempt_needs(world: World, as_node: None, tmp_path: Path) -> None:
    mine = world.running()
    tenant, (made, got) = world.tenant.id, (tmp_path / "made", tmp_path / "got")
    made.write_bytes(b"weights" * 500_000)
    with handouts.working(mine.work):
        stored = storage.put(tenant, storage.new_key(tenant, "j", mine.job.id, mine.token), made)
        storage.fetch(tenant, stored, got)
        assert got.read_bytes() == made.read_bytes()
        assert b"".join(storage.stream(tenant, stored, 3_000_000, 3_000_007)) == made.read_bytes()[3_000_000:3_000_007]
        listed = list(storage.listing(tenant, "j", mine.job.id, mine.token))
        assert [one.key for one in listed] == [stored.key]
        assert mine.work.keys, "the data key stays with the work"
        storage.delete(tenant, [stored.key])
        with pytest.raises(storage.ObjectMissing):
            storage.fetch(tenant, stored, got)
    with pytest.raises(storage.KeyMissing):
        storage.put(tenant, storage.new_key(tenant, "j", mine.job.id, mine.token), made)
    with handouts.working(mine.work), pytest.raises(storage.StorageUnavailable):
        storage.put(tenant, storage.new_key(tenant, "d", uuid.uuid4()), made)


def test_what_a_node_stores_is_encrypted_under_the_key_of_its_tenant(world: World, tmp_path: Path) -> None:
    mine = world.running()
    key = storage.new_key(world.tenant.id, "j", mine.job.id, mine.token)
    handed = asked(mine, "key").json()
    assert uuid.UUID(handed["id"]) == data_key(world.tenant.id).id
    (tmp_path / "file").write_bytes(b"secret text")
    storage.put(world.tenant.id, key, tmp_path / "file")
    with store.opened(key) as body:
        assert body.read(len(MAGIC)) == MAGIC


def test_a_node_is_handed_nothing_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    mine, other = world.running(), factories.make_tenant()
    theirs = data_key(other.id)
    own = f"t/{world.tenant.id}/j/{mine.job.id}/{mine.token}/"
    given = f"t/{world.tenant.id}/d/input"
    monkeypatch.setattr(TickKind, "reads", lambda self, job: [given])

    def status(what: str, **more: Any) -> int:
        return int(asked(mine, what, **more).status_code)

    assert status("key", secret="guessed") == status("key", secret="") == 401
    node = nodes.register(name="n2", hostname="h", boot=uuid.uuid4(), found=[], missing_layers=[]).node_id
    digest = hashlib.sha256(b"of another node").digest()
    superuser.execute("INSERT INTO compute_nodesecret (node_id, digest) VALUES (%s, %s)", [node, digest])
    assert status("key", secret="of another node") == 403, "its attempt lives on this node"
    assert status("key", tenant=str(other.id)) == 403, "the tenant of another's attempt"
    assert status("key", id=str(uuid.uuid4())) == status("key", token=mine.token + 1) == 403
    assert status("key", kind="slot") == 403
    assert status("key", key=str(theirs.id)) == 404, "another tenant's data key"
    assert status("link", method="get", key=given) == status("link", method="put", key=f"{own}file") == 200
    for key in (f"t/{world.tenant.id}/d/other", f"t/{other.id}/d/x", f"{own}../x", "audit/x", "", None, ["a"]):
        assert status("link", method="get", key=key) == 403, key
    assert status("link", method="put", key=given) == 403, "inputs are not written"
    assert status("link", method="delete", key=f"{own}file") == 400
    assert status("list", prefix=f"t/{world.tenant.id}/") == status("list", prefix="") == 403
    assert status("remove", keys=[f"{own}file", given]) == status("remove", keys=given) == 403
    for bad in ({"token": True}, {"token": "1"}, {"id": "x"}, {"kind": None}, {"key": "x"}):
        assert status("key", **bad) == 400, bad
    assert status("key") == 200
    expire(superuser)
    assert status("key") == 403, "its lease is over"


def test_an_attempt_that_ended_and_a_node_that_ended_are_handed_nothing(
    world: World, superuser: psycopg.Connection
) -> None:
    mine = world.running()
    assert asked(mine, "key").status_code == 200
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.01), complete=lambda job: {})
    assert asked(mine, "key").status_code == 403
    again = world.running()
    assert asked(again, "key").status_code == 200
    superuser.execute("SELECT compute_end_node(%s)", [Node.objects.get(name="n1").id])
    assert asked(again, "key").status_code == 401
