"""Bad input by form and API: clear words and a code, nothing half done, nothing charged, never a 5xx.

The reader's fault for each broken file is tested in tests/component/models_app/test_hostile_files.py; here it goes the
whole way. Unreachable parts: tests/faults. Wrong values one by one: test_launch, test_compute, test_entry.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from billing.budgets import budgets
from compute.devices.base import Found
from compute.fleet import nodes
from models_app.datasets import ingestion
from models_app.datasets.uploads import most_bytes
from models_app.object_store import storage
from models_app.tables.limits import MIB
from tenants import quotas
from tenants.models import Tenant
from tests.support import factories
from tests.support.servers.ports import free_port
from tests.support.servers.services import S3
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
#: Rows that a launch, a charge or an upload leaves: none of these may grow by a refusal.
TRACES = (
    "compute_job", "billing_hold", "billing_usageevent", "billing_ledgerposting", "tenants_quotareservation",
    "models_app_model", "models_app_modelversion",
)  # fmt: skip
ROWS = "".join(f"{at % 7}.5,{'yes' if at % 2 else 'no'}\n" for at in range(60))


@dataclass
class Doors:
    """One tenant, used by key and by a person at a browser; `admin` sees every row."""

    tenant: Tenant
    key: str
    person: Client
    admin: psycopg.Connection

    def api(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Return the response of the API."""
        sent = body if isinstance(body, str) else json.dumps(body or {})
        options = {"content_type": "application/json", "data": sent, **options}
        headers = {"Authorization": f"Bearer {self.key}"}
        return getattr(Client(raise_request_exception=False), method)(f"/api/v1/{path}", headers=headers, **options)

    def page(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the response of a page; a body is sent as a form."""
        address = f"/t/{self.tenant.slug}/{path}"
        return self.person.get(address) if body is None else self.person.post(address, body)

    def upload(self, name: str, data: bytes, target: str = "") -> Any:
        """Return the response of the API to an upload."""
        file = SimpleUploadedFile(name, data)
        headers = {"Authorization": f"Bearer {self.key}"}
        client = Client(raise_request_exception=False)
        return client.post("/api/v1/datasets/", {"name": name, "target": target, "file": file}, headers=headers)

    def traces(self) -> dict[str, int]:
        """Return the row counts of this tenant in tables that a refusal must not touch."""
        counts = {}
        for table in TRACES:
            row = self.admin.execute(f"SELECT count(*) FROM {table} WHERE tenant_id = %s", [self.tenant.id]).fetchone()
            counts[table] = row[0] if row else -1
        return counts

    def datasets(self) -> int:
        """Return the number of this tenant's datasets."""
        row = self.admin.execute(
            "SELECT count(*) FROM models_app_dataset WHERE tenant_id = %s", [self.tenant.id]
        ).fetchone()
        return row[0] if row else -1


@pytest.fixture
def doors(s3: S3, superuser: psycopg.Connection) -> Doors:
    storage.ensure_bucket()
    tenant = factories.make_tenant("lab")
    found = [Found(f"cpu-{at}", "cpu", "cpu", f"CPU {at} of host h", at, 2**32) for at in range(2)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    person = Client(raise_request_exception=False)
    person.force_login(factories.make_member(tenant, "owner"))
    return Doors(tenant, factories.make_api_key(tenant), person, superuser)


def text_of(answer: Any) -> str:
    """Return the text that a person reads on a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/worksheets/sheet1.xml", "<c>0</c>" * 5_000_000)
    return out.getvalue()


def archive_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", b"0" * 200_000_000)
    return out.getvalue()


def parquet_bomb() -> bytes:
    out = io.BytesIO()
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 60_000]))
    pq.write_table(pa.table({"a": column, "b": list(range(200_000))}), out, compression="zstd")
    return out.getvalue()


def unknown_codec_parquet() -> bytes:
    """A valid Parquet file except for the name of its compression: LZO, unknown to Arrow."""
    out = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(60)), "b": list(range(60))}), out, compression="snappy")
    path = b"\x19\x18\x01%s\x15"  # a list with one name, then the field of the codec: snappy is 1, LZO 3, both doubled
    return out.getvalue().replace(path % b"a" + b"\x02", path % b"a" + b"\x06")


class Keys(encryption.KmsClient):
    """A key service that wraps nothing, since only the file matters."""

    def __init__(self, config: Any) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def encrypted_parquet(*, footer: bool) -> bytes:
    """A Parquet file with encrypted columns and an encrypted or plain footer."""
    config = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"k": ["a", "b"]}, plaintext_footer=not footer
    )
    made = encryption.CryptoFactory(Keys).file_encryption_properties(encryption.KmsConnectionConfig(), config)
    out = io.BytesIO()
    rows = pa.table({"a": list(range(60)), "b": list(range(60))})
    with pq.ParquetWriter(out, rows.schema, encryption_properties=made) as writer:
        writer.write_table(rows)
    return out.getvalue()


def wide() -> bytes:
    return (",".join(f"c{at}" for at in range(3000)) + "\n" + ",".join(["1"] * 3000) + "\n").encode()


#: name: (file, target, code, a word that helps)
FILES: dict[str, tuple[Callable[[], bytes], str, str, str]] = {
    "broken.csv": (lambda: b"a,b\n1,2\n1,2,3\n", "", "ragged_rows", "Row 2"),
    "noise.csv": (lambda: bytes(range(256)) * 40, "", "not_text", "CSV"),
    "absent-target.csv": (f"wage,job\n{ROWS}".encode, "wages", "target_missing", "wage"),
    "three-thousand.csv": (wide, "", "too_many_columns", "3,000"),
    "bomb.zip": (archive_bomb, "", "refused_format", "zip"),
    "bomb.csv.gz": (lambda: gzip.compress(b"0" * 200_000_000, 1), "", "too_big_unpacked", "unpacked file is too large"),
    "bomb.xlsx": (workbook, "", "refused_format", "Excel"),
    "bomb.parquet": (parquet_bomb, "", "too_big_unpacked", "MiB"),
    "lzo.parquet": (unknown_codec_parquet, "", "unsupported_parquet", "may be valid"),
    "locked.parquet": (lambda: encrypted_parquet(footer=True), "", "encrypted_parquet", "without encryption"),
    "half-locked.parquet": (lambda: encrypted_parquet(footer=False), "", "encrypted_parquet", "without encryption"),
    "mushroom.dat": (
        lambda: b"p,x,s,n\ne,x,y,w\ne,b,s,w\np,x,y,n\n" * 15,
        "",
        "no_header",
        "column names in the first line",
    ),
    "iris.arff": (lambda: b"@relation iris\n@attribute a real\n@data\n1,2\n", "", "refused_format", "ARFF"),
    "infinite.csv": (lambda: b"a,b\n1,2\ninf,3\n", "", "infinite_value", "1 infinite value. Use empty cells"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused_by_form_and_api_and_leaves_nothing(doors: Doors, name: str) -> None:
    make, target, code, word = FILES[name]
    before = doors.traces()
    sent = doors.upload(name, make(), target)
    assert sent.status_code == 201, sent.content
    dataset, version = sent.json()["id"], sent.json()["version"]["id"]
    ingestion.ingest(UUID(version), doors.tenant.id)
    shown = doors.api("get", f"datasets/{dataset}/", data="").json()
    assert (shown["state"], shown["code"]) == ("failed", code)
    assert word in shown["message"]
    page = doors.page(f"datasets/{dataset}/")
    assert page.status_code == 200
    assert word in text_of(page)
    order = {"name": "x", "kind": "train", "recipe": "tabular.classifier", "dataset": dataset}
    refused = doors.api("post", "jobs/", order)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert "could not be read" in refused.json()["fields"]["dataset"][0]
    # The upload itself is kept, and counts towards the quota of storage until somebody removes it.
    assert doors.traces() == before | {"tenants_quotareservation": before["tenants_quotareservation"] + 1}
    assert [item.key.split("/")[2] for item in storage.listing(doors.tenant.id)] == ["u"], "only the upload itself"
    assert doors.api("get", f"datasets/{dataset}/profile/", data="").status_code == 404


@pytest.mark.parametrize("field", ["name", "target"])
@pytest.mark.parametrize(
    "text", ["a\0b", "a\x01b", "a\u202eb"], ids=["NUL", "a control character", "a turn of direction"]
)
def test_an_unprintable_name_or_target_is_a_field_error_and_leaves_nothing(doors: Doors, field: str, text: str) -> None:
    before = doors.traces()
    sent = {"name": "t", "target": "b", field: text}
    headers = {"Authorization": f"Bearer {doors.key}"}
    client = Client(raise_request_exception=False)
    refused = client.post(
        "/api/v1/datasets/", sent | {"file": SimpleUploadedFile("t.csv", b"a,b\n1,2\n")}, headers=headers
    )
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid"), refused.content
    assert list(refused.json()["fields"]) == [field]
    form = doors.page("datasets/upload/", sent | {"file": SimpleUploadedFile("t.csv", b"a,b\n1,2\n")})
    assert form.status_code == 422
    assert form.context["form"].errors.keys() == {field}
    assert doors.traces() == before
    assert doors.datasets() == 0
    assert list(storage.listing(doors.tenant.id)) == []


def test_an_empty_file_is_a_field_error_and_leaves_nothing(doors: Doors) -> None:
    refused = doors.upload("nothing.csv", b"")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid"), refused.content
    assert list(refused.json()["fields"]) == ["file"]
    form = doors.page("datasets/upload/", {"name": "t", "target": "", "file": SimpleUploadedFile("t.csv", b"")})
    assert form.status_code == 422
    assert form.context["form"].errors.keys() == {"file"}
    assert doors.datasets() == 0


def test_a_file_over_the_cap_is_refused_on_the_form_and_by_a_code(doors: Doors) -> None:
    big = b"a,b\n" + b"1,2\n" * (most_bytes() // 4)
    refused = doors.upload("big.csv", big)
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
    form = doors.page("datasets/upload/", {"name": "big", "target": "b", "file": SimpleUploadedFile("big.csv", big)})
    assert form.status_code == 413
    assert "larger than 50 MiB" in text_of(form)
    assert 'value="big"' in form.content.decode(), "what was typed is kept"
    assert doors.datasets() == 0
    assert list(storage.listing(doors.tenant.id)) == []


@dataclass
class Server:
    """The shipped web server in a separate process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def peak(self) -> int:
        """Return the peak memory of its processes in bytes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in children]
        return max(int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) for status in statuses) * 1024


@pytest.fixture
def server(
    request: pytest.FixtureRequest, doors: Doors, s3: S3, process_environment: Callable[..., dict[str, str]]
) -> Iterator[Server]:
    """With the tests' own upload limit; requested `as shipped`, with the product's."""
    port = free_port()
    environment = process_environment(
        role="app",
        S3_ENDPOINT_URL=s3.endpoint_url,
        S3_BUCKET=s3.bucket,
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
    )
    if getattr(request, "param", "") == "as shipped":
        del environment["EXCHEQUER_MAX_UPLOAD_MB"]
    command = [sys.executable, "-m", "deploy.server.web", "--port", str(port), "--processes", "1"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(up, "the web server")
        served = Server(port, process)
        for path in ("/api/v1/datasets/", "/t/lab/datasets/upload/"):  # what a first form loads depends on no size
            key = {"Authorization": f"Bearer {doors.key}", "Content-Length": str(len(TAIL))}
            assert send(served, path, key, iter([TAIL]), chunked=False)[0].status < 500
        yield served
    finally:
        process.terminate()
        process.wait(60)
        connection.close()


BOUNDARY = "b0undary"
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\nbig\r\n--{BOUNDARY}\r\n'
    'Content-Disposition: form-data; name="file"; filename="big.csv"\r\nContent-Type: text/csv\r\n\r\na,b\n'
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
MEGABYTE = b"1,2\n" * (MIB // 4)


def body_of(megabytes: int) -> Iterator[bytes]:
    """Yield a form with a file of that many MiB, in chunks."""
    yield HEAD
    for _ in range(megabytes):
        yield MEGABYTE
    yield TAIL


def send(
    server: Server, path: str, headers: dict[str, str], body: Iterator[bytes], *, chunked: bool
) -> tuple[Any, bytes]:
    """Stream a request as a patient client does; return the response and its body."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    client.request("POST", path, body=body, headers=headers, encode_chunked=chunked)
    answer = client.getresponse()
    content = answer.read()
    client.close()
    return answer, content


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with its length"])
def test_a_250_megabyte_upload_is_refused_in_bounded_memory(server: Server, doors: Doors, chunked: bool) -> None:
    megabytes = 250
    length = len(HEAD) + megabytes * MIB + len(TAIL)
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length)}
    key = {"Authorization": f"Bearer {doors.key}"}
    before = server.peak
    answer, content = send(server, "/api/v1/datasets/", framing | key, body_of(megabytes), chunked=chunked)
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    problem = json.loads(content)
    assert problem["code"] == "too_large"
    assert "50 MiB" in problem["title"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    answer, content = send(server, "/t/lab/datasets/upload/", framing, body_of(megabytes), chunked=chunked)
    assert (answer.status, answer.headers["Content-Type"]) == (413, "text/html; charset=utf-8")
    assert b"50 MiB" in content
    assert server.peak - before < 40 * MIB
    assert doors.datasets() == 0
    assert list(storage.listing(doors.tenant.id)) == []
    answer, _ = send(
        server, "/api/v1/datasets/", key | {"Content-Length": str(len(HEAD + TAIL))}, body_of(0), chunked=False
    )
    assert answer.status == 201, "the next one is served"


@pytest.mark.nightly
@pytest.mark.parametrize("server", ["as shipped"], indirect=True)
def test_a_500_megabyte_upload_is_accepted_and_a_larger_one_refused_in_bounded_memory(
    server: Server, doors: Doors
) -> None:
    key = {"Authorization": f"Bearer {doors.key}"}

    def sent(megabytes: int) -> tuple[Any, dict[str, Any]]:
        length = {"Content-Length": str(len(HEAD) + megabytes * MIB + len(TAIL))}
        answer, content = send(server, "/api/v1/datasets/", key | length, body_of(megabytes), chunked=False)
        return answer, json.loads(content)

    assert sent(1)[0].status == 201
    before = server.peak
    taken, shown = sent(499)  # and its header, which exceeds the whole MiB
    assert taken.status == 201, shown
    assert shown["state"] == "ingesting"
    assert 499 * MIB < shown["version"]["size"] < 500 * MIB
    stored = [item.key for item in storage.listing(doors.tenant.id)]
    # A body stays on disk until its connection is closed; until then it counts against the sender.
    refused, problem = wait_until(lambda: (said := sent(510))[0].status != 429 and said, "room for another")
    assert (refused.status, problem["code"], "500 MiB" in problem["title"]) == (413, "file_too_large", True)
    assert (doors.datasets(), len(stored)) == (1, 2), "two versions of one dataset"
    assert [item.key for item in storage.listing(doors.tenant.id)] == stored
    assert server.peak - before < 40 * MIB


def test_a_body_beyond_its_declared_length_is_not_read(server: Server, doors: Doors) -> None:
    """200 MB behind a `Content-Length` of 1,000: the file is truncated, so it is invalid."""
    before = server.peak
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.sendall(
        f"POST /api/v1/datasets/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {doors.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: 1000\r\n\r\n".encode()
    )
    try:
        for piece in body_of(200):
            client.sendall(piece)
    except OSError:
        pass  # it was cut off
    answer = b""
    try:
        while piece := client.recv(65536):
            answer += piece
    except OSError:
        pass
    client.close()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert b"HTTP/1.1 5" not in answer
    assert server.peak - before < 40 * MIB
    assert doors.datasets() == 0
    assert list(storage.listing(doors.tenant.id)) == []


NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"]


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_that_is_none_gets_in_by_json(doors: Doors, number: str) -> None:
    before = doors.traces()
    bodies = {
        "jobs/": f'{{"name": "x", "params": {{"learning_rate": {number}}}}}',
        "quotes/": f'{{"name": "x", "max_cost": {number}}}',
        "budgets/": f'{{"amount": {number}}}',
        "projects/": f'{{"slug": "x", "name": "x", "more": [{{"deep": {number}}}]}}',
    }
    for path, body in bodies.items():
        refused = doors.api("post", path, body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid"), (path, refused.content)
        assert refused["Content-Type"] == "application/problem+json"
    assert doors.traces() == before


@pytest.fixture
def dataset(doors: Doors) -> dict[str, str]:
    """A trainable dataset: its id and that of its version."""
    sent = doors.upload("good.csv", f"wage,job\n{ROWS}".encode(), "job").json()
    ingestion.ingest(UUID(sent["version"]["id"]), doors.tenant.id)
    return {"id": sent["id"], "version": sent["version"]["id"]}


def order(dataset: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "name": "x", "kind": "train", "project": "default", "recipe": "tabular.classifier", "dataset": dataset["id"],
        "device_class": "cpu", "max_seconds": 3600, **more,
    }  # fmt: skip


def entered(doors: Doors, dataset: dict[str, str], **more: str) -> dict[str, str]:
    """Return the launch form with valid input."""
    project = factories.default_project_id(doors.tenant)
    return {
        "name": "x", "project": str(project), "recipe": "tabular.classifier", "dataset": dataset["version"],
        "device_class": "cpu", "tier": "on_demand", "max_minutes": "60", "p-target": "job", **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("epochs", 10**9), ("epochs", "many"), ("learning_rate", -1), ("learning_rate", "NaN"),
     ("learning_rate", "inf"), ("batch_size", 1.5), ("test_share", 2)],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_named_by_form_and_api(
    doors: Doors, dataset: dict[str, str], name: str, value: Any
) -> None:
    before = doors.traces()
    refused = doors.api("post", "jobs/", order(dataset, params={name: value}))
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert list(refused.json()["fields"]) == [f"params.{name}"]
    form = doors.page("jobs/new/", entered(doors, dataset, **{f"p-{name}": str(value)}))
    assert form.status_code == 422, text_of(form)[-600:]
    assert f'id="id_p-{name}_error"' in form.content.decode()
    assert doors.traces() == before


def test_a_launch_over_its_budget_says_what_would_fit_and_stores_nothing(doors: Doors, dataset: dict[str, str]) -> None:
    quoted = doors.api("post", "quotes/", order(dataset)).json()
    actor = factories.actor_for(doors.tenant)
    limit = Decimal(quoted["worst"]["amount"]) / 2
    budgets.create_budget(actor=actor, amount=limit, at_limit="block_new")
    before = doors.traces()
    refused = doors.api("post", "jobs/", order(dataset))
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (402, "budget_exceeded")
    assert "max_seconds" in problem["title"] and "budget raised" in problem["title"]
    assert problem["ways"], problem
    form = doors.page("jobs/new/", entered(doors, dataset))
    assert form.status_code in (402, 422)
    assert "budget" in text_of(form) and "Nothing was charged" in text_of(form)
    minutes = problem["ways"][0]["change"]["max_seconds"] // 60
    would = f"This would fit: a time limit of {minutes} min"
    assert would in text_of(form)
    assert would in text_of(doors.page("jobs/new/quote/", entered(doors, dataset))), "and so does the cost panel"
    assert "Does not fit" not in text_of(
        doors.page("jobs/new/quote/", entered(doors, dataset, max_minutes=str(minutes)))
    )
    assert doors.traces() == before
    for way in problem["ways"]:
        assert Decimal(way["worst"]["amount"]) <= limit
    shorter = doors.api("post", "jobs/", order(dataset, **problem["ways"][0]["change"]))
    assert shorter.status_code == 201, "what it says does fit"


def test_a_launch_over_its_quota_says_what_helps_and_stores_nothing(doors: Doors, dataset: dict[str, str]) -> None:
    quotas.set_limit(actor=factories.actor_for(doors.tenant), resource="device_hours:cpu", limit=1)
    assert doors.api("post", "jobs/", order(dataset, max_seconds=2000)).status_code == 201
    before = doors.traces()
    refused = doors.api("post", "jobs/", order(dataset, max_seconds=2000))
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["limit"]) == (409, "quota_exceeded", 1)
    assert "Set a shorter time limit, wait for the next month, or ask an owner or admin" in problem["title"]
    form = doors.page("jobs/new/", entered(doors, dataset, max_minutes="33"))
    assert form.status_code in (409, 422)
    assert "Ask an admin to raise the quota" in text_of(form)
    assert doors.traces() == before


def test_a_full_disk_of_the_web_server_is_a_503_by_form_and_api(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.files import uploadhandler

    def full(handler: Any, *_: Any) -> None:
        handler.file.close()
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(uploadhandler.TemporaryFileUploadHandler, "receive_data_chunk", full)
    refused = doors.upload("t.csv", b"a,b\n1,2\n")
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert refused.json()["code"] == "unavailable"
    file = SimpleUploadedFile("t.csv", b"a,b\n1,2\n")
    page = doors.page("datasets/upload/", {"name": "t", "file": file})
    assert page.status_code == 503
    assert "Nothing was changed" in text_of(page)
    assert doors.datasets() == 0
    monkeypatch.undo()
    assert doors.upload("t.csv", b"a,b\n1,2\n").status_code == 201
