"""The object store's interface: keys stay under their tenant, bytes are verified, the store holds ciphertext only."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import ClientError
from django.conf import settings as django_settings
from moto import mock_aws

from compute.kinds import BadOutput
from models_app.object_store import checkpoint_files, s3, storage
from models_app.registry.artefacts import check_safetensors, read_json
from tenants.encryption import DataKey
from tenants.encryption.keys import UnknownKey
from tenants.encryption.stream import CHUNK, HEADER, TAG, seal, unseal

TENANT, OTHER = uuid4(), uuid4()
KEYS = {tenant: DataKey(uuid4(), os.urandom(32)) for tenant in (TENANT, OTHER)}


def key_of(tenant_id: UUID, key_id: UUID | None = None) -> DataKey:
    key = KEYS[tenant_id]
    if key_id not in (None, key.id):
        raise UnknownKey
    return key


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    """Keys that need no database."""
    monkeypatch.setattr(storage, "data_key", key_of)


@pytest.fixture
def store(settings):
    settings.EXCHEQUER = django_settings.EXCHEQUER.model_copy(update={"s3_endpoint_url": "", "s3_bucket": "unit"})
    s3.client.cache_clear()
    with mock_aws():
        storage.ensure_bucket()
        storage.ensure_bucket()
        yield
    s3.client.cache_clear()


def stored(data: bytes = b"some data", tenant=TENANT) -> storage.Stored:
    return storage.put(tenant, storage.new_key(tenant, "d", uuid4()), io.BytesIO(data))


def test_what_is_fetched_is_what_was_put(store, tmp_path):
    kept = stored(b"x" * 3_000_000)
    storage.fetch(TENANT, kept, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"x" * 3_000_000
    path = tmp_path / "from-a-path"
    path.write_bytes(b"abc")
    assert storage.put(TENANT, storage.new_key(TENANT, "d"), path).size == 3


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 4}, {"size": 400}])
def test_bytes_that_are_not_what_was_stored_never_arrive(store, tmp_path, change):
    kept = stored()
    wrong = storage.Stored(**{**kept.to_json(), **change})
    with pytest.raises(storage.ChecksumMismatch):
        storage.fetch(TENANT, wrong, tmp_path / "back")
    assert list(tmp_path.iterdir()) == []


def raw(key: str) -> bytes:
    with s3.opened(key) as body:
        return body.read()


def overwrite(key: str, data: bytes) -> None:
    s3.put(key, io.BytesIO(data), len(data))


DATA = os.urandom(16) + b"canary of a tenant" + os.urandom(600_000)  # three chunks
RECORD = CHUNK + TAG
TAMPERINGS = {
    "a changed bit": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "a changed bit of the header": lambda body: body[:30] + bytes([body[30] ^ 1]) + body[31:],
    "another version": lambda body: b"EXQ\x02" + body[4:],
    "another chunk size": lambda body: body[:20] + (CHUNK // 2).to_bytes(4, "big") + body[24:],
    "a chunk size that needs all memory": lambda body: body[:20] + b"\xff" * 4 + body[24:],
    "the key of another tenant": lambda body: body[:4] + KEYS[OTHER].id.bytes + body[20:],
    "cut in a chunk": lambda body: body[: len(body) // 2],
    "cut at the end of a chunk": lambda body: body[: HEADER.size + 2 * RECORD],
    "cut to the header": lambda body: body[: HEADER.size],
    "cut within the header": lambda body: body[:10],
    "empty": lambda body: b"",
    "something behind it": lambda body: body + b"x",
    "a chunk twice": lambda body: body[: HEADER.size + RECORD] + body[HEADER.size :],
    "two chunks swapped": lambda body: body[: HEADER.size] + body[HEADER.size + RECORD : HEADER.size + 2 * RECORD]
    + body[HEADER.size : HEADER.size + RECORD] + body[HEADER.size + 2 * RECORD :],
    "in the clear": lambda body: DATA,
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_an_object_that_was_tampered_with_does_not_open(store, tmp_path, tampering):
    kept = stored(DATA)
    body = raw(kept.key)
    assert b"canary" not in body
    overwrite(kept.key, TAMPERINGS[tampering](body))
    with pytest.raises(storage.ChecksumMismatch) as damaged:
        storage.fetch(TENANT, kept, tmp_path / "back")
    assert (damaged.value.code, damaged.value.status) == ("object_damaged", 500)
    assert kept.key not in damaged.value.message
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(storage.ChecksumMismatch):
        list(storage.stream(TENANT, kept, 1, len(DATA)))


def test_an_object_under_another_name_does_not_open(store, tmp_path):
    one, two = stored(b"one" * 1000), stored(b"two" * 1000)
    theirs = stored(b"one" * 1000, tenant=OTHER)
    bodies = {one.key: raw(one.key), two.key: raw(two.key), theirs.key: raw(theirs.key)}
    overwrite(two.key, bodies[one.key])  # swapped within a tenant: the row's sha256 may even be right
    overwrite(theirs.key, bodies[one.key])
    for tenant, key in ((TENANT, two.key), (OTHER, theirs.key)):
        moved = storage.Stored(key, one.sha256, one.size, encrypted=True)
        with pytest.raises(storage.ChecksumMismatch):
            storage.fetch(tenant, moved, tmp_path / "back")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_any_size_and_any_range_comes_back(store, size):
    data = os.urandom(size)
    kept = stored(data)
    assert b"".join(storage.stream(TENANT, kept)) == data
    for start, stop in (
        (0, 1),
        (1, size),
        (CHUNK - 1, CHUNK + 1),
        (CHUNK, 2 * CHUNK),
        (size - 1, size),
        (size, size + 5),
    ):
        if start >= 0:
            assert b"".join(storage.stream(TENANT, kept, start, stop)) == data[start:stop]
    early = storage.stream(TENANT, kept)
    next(early, b"")
    early.close()


def test_what_was_stored_before_there_was_encryption_is_read(store, tmp_path):
    key, data = storage.new_key(TENANT, "d"), b"of last year"
    overwrite(key, data)
    old = storage.Stored(key, hashlib.sha256(data).hexdigest(), len(data))
    storage.fetch(TENANT, old, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert b"".join(storage.stream(TENANT, old, 3, 7)) == data[3:7]


def test_the_memory_of_an_object_does_not_grow_with_its_size(store, tmp_path, monkeypatch):
    """The format alone, without the memory of the store's client."""

    class Zeros:
        left = 0

        def read(self, size: int) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    peaks = []
    for megabytes in (8, 64):
        source = Zeros()
        source.left = megabytes * 1024**2
        with (tmp_path / "sealed").open("w+b") as sealed:
            tracemalloc.start()
            _, size = seal(source, sealed, KEYS[TENANT], "name")
            sealed.seek(0)
            assert sum(map(len, unseal(sealed, lambda _: KEYS[TENANT], "name"))) == size
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5 < 8 * 1024**2


def test_an_object_that_is_gone_is_a_missing_one(store, tmp_path):
    with pytest.raises(storage.ObjectMissing):
        storage.fetch(TENANT, storage.Stored(storage.new_key(TENANT, "d"), "0" * 64, 1), tmp_path / "back")


def test_a_store_that_does_not_answer_is_a_503(settings, tmp_path):
    settings.EXCHEQUER = django_settings.EXCHEQUER.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    s3.client.cache_clear()
    with pytest.raises(storage.StorageUnavailable) as away:
        stored()
    assert (away.value.status, away.value.code) == (503, "storage_unavailable")


def test_every_call_refuses_keys_of_other_tenants_and_paths(store, tmp_path):
    theirs = stored(tenant=OTHER)
    calls = [
        lambda key: storage.put(TENANT, key, io.BytesIO(b"x")),
        lambda key: storage.fetch(TENANT, storage.Stored(key, "0" * 64, 1), tmp_path / "x"),
        lambda key: next(storage.stream(TENANT, storage.Stored(key, "0" * 64, 1))),
        lambda key: storage.delete(TENANT, [key]),
    ]
    for key in (
        theirs.key,
        f"t/{TENANT}/../{OTHER}/d/x",
        f"t/{TENANT}//x",
        f"/t/{TENANT}/x",
        "x",
        "",
        f"t/{TENANT}/a\\b",
        f"t/{TENANT}/a\nb",
    ):
        for call in calls:
            with pytest.raises(storage.ForeignKeyPath):
                call(key)
    assert [item.key for item in storage.listing(OTHER)] == [theirs.key]
    assert list(storage.listing(TENANT)) == []


@pytest.mark.parametrize("part", ["..", "a/b", "", "A", "-x", "x y", "x\n", "é"])
def test_a_key_is_made_of_ids_and_short_words_only(part):
    with pytest.raises(storage.ForeignKeyPath):
        storage.new_key(TENANT, part)


@pytest.mark.parametrize(
    "text",
    [r'{"a\u0000": 1}', r'{"a": ["\ud800"]}', '{"a": 1e999}', '{"a": -1e999}', '{"a": NaN}', '{"a": "%s"}' % ("x" * 1_000_001)],
)  # fmt: skip
def test_json_that_no_database_can_hold_is_bad_output(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(BadOutput):
        read_json(path)
    path.write_text(r'{"a": ["\ud83d\ude00", 1e300, null]}')
    assert read_json(path) == {"a": ["\U0001f600", 1e300, None]}


NAMES = [
    "plain.csv", "../../../etc/passwd", "..\\..\\boot.ini", "a\r\nSet-Cookie: x=1", 'quo"te.csv', "semi;colon.csv", "null\0byte",
    "Köln.csv", "数据.csv", "😀.csv", "a" * 500, "", ".", "..", "/", "con", "%2e%2e%2f", "a%00b", "<script>.csv", "tab\there", " lead",
    "trail ", "~root", "$HOME", "`id`", "|cat", "&x", "a\u202egnp.exe", "a\u2028b", "file.csv/", "C:\\x\\y.csv", "..;/x", "\x7f", "'single'",
    "=cmd|' /C calc'!A0.csv", "-rf", "--help", "a;b", "a\rb", "a\vb", "a\x1b[31mred", "\ud7ff.csv", "x" * 149 + "é", "é" * 200, "%", "%zz",
    "a=b;filename*=UTF-8''evil", "utf-8''x", "\\\\host\\share\\x", "file:///etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_file_name_can_leave_its_header(name):
    header = storage.disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert "/" not in header
    assert "\\" not in header
    assert len(header) < 2000


def test_only_whole_safetensors_and_objects_are_accepted(tmp_path):
    import torch
    from safetensors.torch import save_file

    good = tmp_path / "good"
    save_file({"a": torch.ones(3, 4), "b": torch.zeros(2)}, good)
    check_safetensors(good)
    data = good.read_bytes()
    bad = tmp_path / "bad"
    for broken in (b"", data[:-1], data + b"x", b"\xff" * 8 + data[8:], data[:8] + b"x" + data[9:], b"\x80\x04pickle"):
        bad.write_bytes(broken)
        with pytest.raises(BadOutput):
            check_safetensors(bad)
    for broken in (b"[1]", b"{", b'{"a": NaN}', b"[" * 100_000):
        bad.write_bytes(broken)
        with pytest.raises(BadOutput):
            read_json(bad)


def test_a_bucket_with_object_lock_keeps_checkpoints_from_everybody(store, settings):
    def lacks(mode: str = "") -> str:
        rule = {"Rule": {"DefaultRetention": {"Mode": mode, "Days": 400}}} if mode else {}
        locked = {"ObjectLockEnabled": "Enabled", **rule}
        client.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=locked)
        return checkpoint_files.lock_fault()

    def found() -> list[tuple[str, bytes]]:
        return list(checkpoint_files.kept("c/", "c/000000000001.jsonl", "c/000000000003.jsonl"))

    client = s3.client(os.getpid(), "")
    assert checkpoint_files.lock_fault() == ""
    checkpoint_files.keep("c/000000000001.jsonl", b"1")
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"audit_bucket": "locked"})
    assert "does not answer" in checkpoint_files.lock_fault()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    assert "no Object Lock with a default retention" in lacks()
    assert "GOVERNANCE" in lacks("GOVERNANCE")
    assert lacks("COMPLIANCE") == ""
    for seq in (2, 4):
        checkpoint_files.keep(f"c/{seq:012d}.jsonl", str(seq).encode())
    assert found() == [("c/000000000001.jsonl", b"1"), ("c/000000000002.jsonl", b"2")]
    key = "audit/c/000000000002.jsonl"
    (version,) = (one for one in s3.versions(key, "locked"))
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket="locked", Key=key, VersionId=version.id, BypassGovernanceRetention=True)
    checkpoint_files.keep("c/000000000002.jsonl", b"forged")
    client.delete_object(Bucket="locked", Key=key)
    assert {content for _, content in found()} == {b"1", b"2", b"forged"}, "what was written over or removed, too"
