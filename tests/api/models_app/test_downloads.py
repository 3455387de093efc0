"""Downloads: no link leads to the object store; the app checks, audits, then streams."""

from __future__ import annotations

import base64
import contextlib
import io
import os
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from django.test import Client

from compute.models import Job
from models_app.files import downloads
from models_app.models import Dataset
from models_app.object_store import s3, storage
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.api.objects import one_of_everything
from tests.support.factories import make_api_key, make_member, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
WEIGHTS = b"the weights of a model" + os.urandom(700_000)
PREDICTIONS = b'"row","label"\n1,"no"\n'


class Server:
    """A tenant with a version whose weights are stored and a batch prediction with its two files."""

    def __init__(self, superuser) -> None:
        self.tenant = make_tenant()
        self.ids = one_of_everything(self.tenant)
        put = [
            storage.put(self.tenant.id, storage.new_key(self.tenant.id, "j"), io.BytesIO(data))
            for data in (WEIGHTS, PREDICTIONS)
        ]
        self.weights, self.predictions = put
        superuser.execute(
            "UPDATE models_app_modelversion SET artefact_key = %s, artefact_sha256 = %s, artefact_size = %s, "
            "artefact_encrypted = true WHERE id = %s",
            [put[0].key, put[0].sha256, put[0].size, self.ids["version_id"]],
        )
        with tenant_scope(self.tenant.id):
            Job.objects.filter(id=self.ids["job_id"]).update(
                kind="batch_predict",
                name='../we"ird\r\nname',
                result={"rows": 1, "files": {form: put[1].to_json() for form in ("csv", "parquet")}},
            )
        self.headers = {"Authorization": f"Bearer {make_api_key(self.tenant)}"}
        self.client = Client(raise_request_exception=False)

    def get(self, path, **headers):
        return self.client.get(path, headers=self.headers | headers)

    def entries(self):
        with tenant_scope(self.tenant.id):
            return list(AuditEntry.objects.filter(action="models_app.file.downloaded").order_by("seq"))


@pytest.fixture
def server(s3, superuser) -> Server:
    storage.ensure_bucket()
    return Server(superuser)


def body_of(answer) -> bytes:
    with closing(answer):
        return b"".join(answer.streaming_content)


def test_a_link_leads_to_the_app_and_the_app_streams_the_file(server):
    said = server.get(f"/api/v1/versions/{server.ids['version_id']}/download/").json()
    assert set(said) == {"url"}
    result = server.get(f"/api/v1/jobs/{server.ids['job_id']}/result/").json()
    for url, data in [(said["url"], WEIGHTS), *((file["url"], PREDICTIONS) for file in result["files"])]:
        parts = urlsplit(url)
        assert (parts.netloc, parts.query) == ("testserver", "")
        assert Client().get(parts.path).status_code == 401, "the address alone opens nothing"
        answer = server.get(parts.path, Accept="application/octet-stream")
        assert answer.status_code == 200
        assert answer["Content-Length"] == str(len(data))
        assert answer["Content-Disposition"].startswith("attachment; filename=")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert body_of(answer) == data
    assert [entry.changes["bytes"][1] for entry in server.entries()] == [len(WEIGHTS), *[len(PREDICTIONS)] * 2]


def test_pages_answer_the_same_files_under_a_name_that_stays_in_its_header(server):
    browser = Client()
    browser.force_login(make_member(server.tenant, "viewer"))
    base = f"/t/{server.tenant.slug}"
    answer = browser.get(f"{base}/models/versions/{server.ids['version_id']}/weights/")
    assert body_of(answer) == WEIGHTS
    assert 'filename="a model-v1.safetensors"' in answer["Content-Disposition"]
    digest = base64.b64encode(bytes.fromhex(server.weights.sha256)).decode()
    assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    answer = browser.get(f"{base}/jobs/{server.ids['job_id']}/result/?format=parquet")
    assert body_of(answer) == PREDICTIONS
    assert "weirdname-predictions.parquet" in answer["Content-Disposition"].replace("_", "")
    assert [entry.actor_type for entry in server.entries()] == ["user", "user"]


def test_the_entry_is_committed_before_the_first_byte_and_a_refusal_leaves_none(server, superuser):
    path = f"/api/v1/versions/{server.ids['version_id']}/weights/"
    answer = server.get(path)
    count = superuser.execute("SELECT count(*) FROM tenants_auditentry WHERE action = 'models_app.file.downloaded'")
    assert count.fetchone() == (1,), "another connection sees the entry; nothing was read yet"
    answer.close()
    browser = Client()
    browser.force_login(make_member(server.tenant, "viewer"))
    head = browser.head(f"/t/{server.tenant.slug}/models/versions/{server.ids['version_id']}/weights/")
    assert head["Content-Length"] == str(len(WEIGHTS))
    with s3.opened(server.weights.key) as body:
        sealed = body.read()
    s3.put(server.weights.key, io.BytesIO(sealed[:70] + bytes([sealed[70] ^ 1]) + sealed[71:]), len(sealed))
    damaged = server.get(path)
    assert (damaged.status_code, damaged.json()["code"]) == (500, "object_damaged")
    storage.delete(server.tenant.id, [server.weights.key])
    gone = server.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "object_missing")
    assert len(server.entries()) == 1


def test_damage_at_the_end_breaks_the_download_off_instead_of_completing_it(server):
    with s3.opened(server.weights.key) as body:
        sealed = body.read()
    s3.put(server.weights.key, io.BytesIO(sealed[:-1] + bytes([sealed[-1] ^ 1])), len(sealed))
    answer = server.get(f"/api/v1/versions/{server.ids['version_id']}/weights/")
    received = []
    with closing(answer), pytest.raises(storage.ChecksumMismatch):
        received.extend(answer.streaming_content)
    assert WEIGHTS.startswith(b"".join(received))
    assert sum(map(len, received)) < len(WEIGHTS)


def test_the_bytes_of_another_organisation_under_this_ones_name_never_arrive(server, superuser):
    other = Server(superuser)
    with s3.opened(other.weights.key) as body:
        theirs = body.read()
    s3.put(server.weights.key, io.BytesIO(theirs), len(theirs))
    answer = server.get(f"/api/v1/versions/{server.ids['version_id']}/weights/")
    arrived = b""
    with contextlib.suppress(Exception), closing(answer):
        for piece in answer.streaming_content if answer.streaming else [answer.content]:
            arrived += piece
    assert WEIGHTS[:22] not in arrived
    assert len(arrived) < len(WEIGHTS)
    assert server.get(f"/api/v1/versions/{other.ids['version_id']}/weights/").status_code == 404


def test_a_part_a_head_and_a_key_without_the_scope_open_nothing_more(server):
    path = f"/api/v1/versions/{server.ids['version_id']}/weights/"
    whole = server.get(path, Range="bytes=5-9")
    assert (whole.status_code, body_of(whole)) == (200, WEIGHTS), (
        "no parts are offered: the whole file, verified, or nothing"
    )
    head = server.client.head(path, headers=server.headers)
    assert (head.status_code, head.content if not head.streaming else body_of(head)) == (200, b"")
    weak = {"Authorization": f"Bearer {make_api_key(server.tenant, ['tenant.view'])}"}
    assert Client().get(path, headers=weak).status_code == 403
    assert [
        Client().get(path, headers={"Authorization": f"Bearer {wrong}"}).status_code for wrong in ("", "exq_x", "é")
    ] == [401] * 3
    assert Client().post(path, headers=server.headers).status_code == 405


def test_a_restricted_datasets_files_are_missing_for_others(server):
    with tenant_scope(server.tenant.id):
        Dataset.objects.update(restricted=True)
    server.headers = {"Authorization": f"Bearer {make_api_key(server.tenant, ['models.view', 'jobs.view'])}"}
    for path in (
        f"/api/v1/versions/{server.ids['version_id']}/download/",
        f"/api/v1/versions/{server.ids['version_id']}/weights/",
        f"/api/v1/jobs/{server.ids['job_id']}/result/csv/",
    ):
        assert server.get(path).status_code == 404
    assert server.entries() == []


def test_slow_readers_take_no_more_than_their_share_of_the_threads(server):
    path = f"/api/v1/versions/{server.ids['version_id']}/weights/"
    held = [server.get(path) for _ in range(downloads.AT_ONCE_OF_TENANT)]
    one_more = server.get(path)
    assert (one_more.status_code, one_more.json()["code"]) == (429, "too_many_downloads")
    assert one_more["Retry-After"] == "5"
    held.pop().close()  # the client disconnected before it read anything
    assert body_of(server.get(path)) == WEIGHTS
    held.pop().close()
    assert downloads.Flow._under_way == []
