"""The object store's door: keys stay under their tenant, bytes are what was stored, links are short-lived."""

from __future__ import annotations

import io
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from moto import mock_aws

from compute.kinds import BadOutput
from models_app import storage
from models_app.artefacts import check_safetensors, read_json

TENANT, OTHER = uuid4(), uuid4()


@pytest.fixture
def store(settings):
    settings.EXCHEQUER = django_settings.EXCHEQUER.model_copy(update={"s3_endpoint_url": "", "s3_bucket": "unit"})
    storage._client.cache_clear()
    with mock_aws():
        storage.ensure_bucket()
        storage.ensure_bucket()
        yield
    storage._client.cache_clear()


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


def test_an_object_that_is_gone_is_a_missing_one(store, tmp_path):
    with pytest.raises(storage.ObjectMissing):
        storage.fetch(TENANT, storage.Stored(storage.new_key(TENANT, "d"), "0" * 64, 1), tmp_path / "back")


def test_a_store_that_does_not_answer_is_a_503(settings, tmp_path):
    settings.EXCHEQUER = django_settings.EXCHEQUER.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    storage._client.cache_clear()
    with pytest.raises(storage.StorageUnavailable) as away:
        stored()
    assert (away.value.status, away.value.code) == (503, "storage_unavailable")


def test_every_call_refuses_keys_of_other_tenants_and_paths(store, tmp_path):
    theirs = stored(tenant=OTHER)
    calls = [
        lambda key: storage.put(TENANT, key, io.BytesIO(b"x")),
        lambda key: storage.fetch(TENANT, storage.Stored(key, "0" * 64, 1), tmp_path / "x"),
        lambda key: storage.link(TENANT, storage.Stored(key, "0" * 64, 1), filename="x"),
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


def test_links_are_for_reading_and_end_within_five_minutes(store):
    url = urlsplit(storage.link(TENANT, stored(), filename="../../etc/passwd", seconds=100_000))
    asked = parse_qs(url.query)
    assert asked["X-Amz-Expires"] == ["300"]
    assert asked["response-content-disposition"] == ["attachment; filename=\"passwd\"; filename*=UTF-8''passwd"]


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
