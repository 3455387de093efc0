"""Disk use of the web server: strangers leave nothing, authenticated senders a limited amount."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client, RequestFactory
from django.utils import timezone

from deploy.server.upload_limits import TooManyUploads, UploadBudget
from tenants.access.reader import reader
from tenants.errors import Unavailable
from tenants.web.large_bodies import sender_of
from tests.api.config.test_hosts import ROOT, served
from tests.support import factories
from tests.support.servers.ports import free_port
from tests.support.servers.services import S3
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("large bodies")

MIB = 1024 * 1024
FORM = "multipart/form-data; boundary=b"
START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b\n'


class Server:
    """A web server, its files on disk, and a key."""

    def __init__(self, port: int, temp: Path, key: str, weak: str) -> None:
        self.port, self.temp = port, temp
        self.links = ExitStack()
        self.key, self.weak = ({"Authorization": f"Bearer {secret}"} for secret in (key, weak))

    def on_disk(self) -> int:
        """Return the bytes of files in the temp folder, deleted open files included."""
        total = 0
        for descriptors in Path("/proc").glob("[0-9]*/fd"):
            try:
                for one in descriptors.iterdir():
                    if os.readlink(one).startswith(str(self.temp)):
                        total += one.stat().st_size
            except OSError:
                continue
        return total + sum(file.stat().st_size for file in self.temp.iterdir())

    def begin(self, path: str, length: int, headers: dict[str, str], *, more: str = "") -> socket.socket:
        """Open a connection, closed after the test at the latest, and send the head of a POST."""
        link = self.links.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=60))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        framing = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
        start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n{head}{more}{framing}\r\n\r\n"
        link.sendall(start.encode())
        return link


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[ExitStack, list[tuple[int, Path]]]]:
    """What runs until the end of the module, and the port and temp folder of the web server once it was started."""
    with ExitStack() as running:
        yield running, []


@pytest.fixture
def server(
    process_environment: Callable[..., dict[str, str]],
    transactional_db: None,
    s3: S3,
    started: tuple[ExitStack, list[tuple[int, Path]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """One web server for all tests; it keeps nothing of the one before."""
    running, places = started
    if not places:
        port, folder = free_port(), tmp_path_factory.mktemp("served")
        temp = folder / "temp"
        temp.mkdir()
        environment = process_environment(
            TMPDIR=temp, S3_ENDPOINT_URL=s3.endpoint_url, S3_BUCKET=s3.bucket, AWS_ACCESS_KEY_ID=s3.access_key, AWS_SECRET_ACCESS_KEY=s3.secret_key
        )  # fmt: skip
        running.enter_context(served(environment, port, folder))
        places.append((port, temp))
    tenant = factories.make_tenant("lab")
    keys = factories.make_api_key(tenant), factories.make_api_key(tenant, ["tenant.view"])
    found = Server(*places[0], *keys)
    with found.links:
        yield found
    wait_until_on_disk(found, MIB, "what was sent is gone with its connection")


def pour(links: list[socket.socket], megabytes: int, *, chunked: bool = False) -> None:
    """Send megabytes to each, in turn; ignore one that hangs up."""
    piece = b"1,2\n" * (MIB // 4)
    piece = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    for _ in range(megabytes):
        for link in links:
            try:
                link.sendall(piece)
            except OSError:
                continue


def answer_to(link: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(link)
    answer.begin()
    return answer.status, answer.read()


def wait_until_on_disk(server: Server, most: int, why: str = "what was sent is read") -> None:
    """Wait until the server keeps at most so many bytes on disk."""
    wait_until(lambda: server.on_disk() <= most, lambda: f"{why}: {server.on_disk()} bytes are on disk, not {most}")


def grown(server: Server) -> int:
    """Return the bytes on disk once they have not grown for half a second; nothing else shows that all is read."""
    before = [0]

    def steady() -> bool:
        time.sleep(0.5)
        before.append(server.on_disk())
        return before[-1] > 0 and before[-1] == before[-2]

    wait_until(steady, lambda: f"no more arrives on disk: {before}")
    return before[-1]


def test_large_bodies_of_strangers_touch_no_disk(server: Server) -> None:
    bogus = {"Authorization": "Bearer exq_00000000_" + "x" * 43}
    base = server.on_disk()
    asked = [("/api/v1/datasets/", {}), ("/api/v1/datasets", bogus), ("/api/v1/datasets/", server.weak)]
    asked += [("/t/lab/datasets/upload/", {}), ("/t/lab/datasets/upload/", {"Cookie": "exchequer=" + "x" * 32})]
    asked += [("/api/v1/projects/", server.key), ("/accounts/login/", {}), ("/nothing", {})]
    plain = [server.begin(path, 10 * MIB, headers) for path, headers in asked]
    chunked = [server.begin(path, 0, headers) for path, headers in asked]
    pour(plain, 8)
    pour(chunked, 8, chunked=True)
    wait_until_on_disk(server, base + 4 * MIB)
    pour(plain, 2)
    for link in chunked:
        link.sendall(b"0\r\n\r\n")
    expected = {401, 403, 413, 404}
    for (path, headers), link in [*zip(asked, plain, strict=True), *zip(asked, chunked, strict=True)]:
        status, content = answer_to(link)
        assert status in expected, (path, headers, status, content[:200])
        if path.startswith("/api/v1/datasets"):
            assert status == (403 if headers == server.weak else 401)
            assert json.loads(content)["code"] in ("not_authenticated", "permission_denied")
        link.close()


def test_many_medium_bodies_share_the_cap_too(server: Server) -> None:
    links = [server.begin("/api/v1/me/", 2 * MIB, {}) for _ in range(200)]
    piece = b"x" * (MIB + 900 * 1024)
    for link in links:
        try:
            link.sendall(piece)
        except OSError:
            continue
    assert 0 < grown(server) <= 200 * MIB
    for link in links:
        link.close()
    wait_until_on_disk(server, 4 * MIB, "what a client that is gone had sent goes with it")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after 100"])
def test_an_authenticated_sender_uploads_a_large_body(server: Server, waits: bool) -> None:
    body = (
        START
        + b"1,2\n" * (6 * MIB // 4)
        + b'\r\n--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nbig\r\n--b--\r\n'
    )
    link = server.begin("/api/v1/datasets", len(body), server.key, more="Expect: 100-continue\r\n" if waits else "")
    if waits:
        assert link.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    link.sendall(body)
    status, content = answer_to(link)
    assert status == 201, content
    if waits:
        stranger = server.begin("/api/v1/datasets/", len(body), {}, more="Expect: 100-continue\r\n")
        assert answer_to(stranger)[0] == 401, "told before it sends anything"
        stranger.close()
    link.close()
    wait_until_on_disk(server, MIB)


def test_looking_up_a_sender_leaves_no_scope_on_the_thread(transactional_db: None) -> None:
    tenant = factories.make_tenant(timezone="Asia/Tokyo")
    client, asker = Client(), RequestFactory()
    client.force_login(factories.make_member(tenant, "engineer"))
    asker.cookies = client.cookies
    assert sender_of(asker.post(f"/t/{tenant.slug}/datasets/upload/").environ) == str(tenant.id)
    assert (reader(), timezone.get_current_timezone_name()) == (None, "UTC")


def test_room_is_shared_and_given_back() -> None:
    room = UploadBudget(100, 30)
    room.share(2)
    room.take(20, "a")
    room.take(20, "b")
    with pytest.raises(Unavailable):
        room.take(20, "c")
    room.take(10, "c")
    room.give_back(20, "a")
    room.take(15, "c")
    with pytest.raises(TooManyUploads):
        room.take(1, "c")
    room.share(10)
    assert room.most == 30


#: The real server as one of very many processes, which checks every second whether bodies keep coming.
PROGRAM = """
import sys
from deploy.server import web
import config.wsgi

web.LOOK_S = 1
web.LEAST_RATE = int(sys.argv[2])
listener = web.listen("127.0.0.1", int(sys.argv[1]))
listener.listen(64)
print("serving", flush=True)
web.serve(listener, 100)
"""


@pytest.fixture
def crowded(
    process_environment: Callable[..., dict[str, str]], transactional_db: None, s3: S3, tmp_path: Path
) -> Callable[..., Any]:
    """Return `crowded(rate, **more)`: a server with the smallest budget, and the keys of two tenants."""
    keys = [factories.make_api_key(factories.make_tenant(name)) for name in ("lab", "ward")]
    temp = tmp_path / "temp"
    temp.mkdir()

    @contextmanager
    def run(rate: int, **more: Any) -> Iterator[Server]:
        environment = process_environment(
            TMPDIR=temp, S3_ENDPOINT_URL=s3.endpoint_url, S3_BUCKET=s3.bucket, AWS_ACCESS_KEY_ID=s3.access_key,
            AWS_SECRET_ACCESS_KEY=s3.secret_key, EXCHEQUER_MAX_UPLOAD_MB=10, **more,
        )  # fmt: skip
        port = free_port()
        command = [sys.executable, "-c", PROGRAM, str(port), str(rate)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
            server = Server(port, temp, *keys)
            with server.links:
                yield server
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()

    return run


def upload(megabytes: int) -> bytes:
    """Return a form with a table of so many megabytes."""
    name = b'\r\n--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nbig\r\n--b--\r\n'
    return START + b"1,2\n" * (megabytes * MIB // 4) + name


def test_one_tenant_never_has_the_whole_share_for_uploads(crowded: Callable[..., Any]) -> None:
    body = upload(9)
    with crowded(0) as server:
        held = [server.begin("/api/v1/datasets/", len(body), server.key) for _ in range(3)]
        for link in held:
            link.sendall(body[:-1])
        link = server.begin("/api/v1/datasets/", len(body), server.weak)
        link.sendall(body)
        status, content = answer_to(link)
        assert status == 201, content
        for one in held:
            one.sendall(body[-1:])
        answers = sorted((answer_to(one) for one in held), key=lambda answer: answer[0])
        assert [status for status, _ in answers][2] == 429, "two fit into a tenant's half, the third does not"
        assert json.loads(answers[2][1])["code"] == "too_many_uploads"
        assert [status // 100 for status, _ in answers[:2]] == [2, 2]


def test_a_stalled_body_is_refused_and_releases_its_share(crowded: Callable[..., Any]) -> None:
    body = upload(9)
    with crowded(64 * 1024) as server:
        base = server.on_disk()
        stops = server.begin("/api/v1/datasets/", len(body), server.key)
        stops.sendall(body[:-1000])
        status, content = answer_to(stops)
        assert (status, json.loads(content)["code"]) == (408, "request_timeout")
        wait_until_on_disk(server, base + MIB)
        drips = server.begin("/api/v1/datasets/", len(body), server.key)
        head = server.links.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
        head.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")

        def ended() -> bool:
            over = select.select([drips, head], [], [], 0)[0]
            for link in {drips, head} - set(over):
                with suppress(ConnectionError):
                    link.sendall(b"x")
            return len(over) == 2

        wait_until(ended, "a byte at intervals keeps neither alive")
        with suppress(ConnectionError):  # what they sent last was not read any more, which may have cost the response
            assert answer_to(drips)[0] == 408
        with suppress(ConnectionError):
            assert head.recv(100) == b""
        head.close()
        assert any(arrives(server, body) for _ in range(20)), "there is room again"


def arrives(server: Server, body: bytes) -> bool:
    """Send a whole upload; False if this machine was too busy to send it at the required speed."""
    quick = server.begin("/api/v1/datasets/", len(body), server.key)
    with suppress(ConnectionError):
        quick.sendall(body)
        status = answer_to(quick)[0]
        assert status in (201, 408)
        return status == 201
    return False


@pytest.mark.parametrize(
    "piece", [b"0" * MIB, b"0\r\n" + b"x" * MIB, b"1\r\nx\r\n" * (MIB // 6)], ids=["size", "trailer", "crumbs"]
)
def test_a_chunked_body_with_more_framing_than_content_is_refused_at_once(server: Server, piece: bytes) -> None:
    for path, headers in (("/accounts/login/", {}), ("/api/v1/datasets/", server.key), ("/api/v1/datasets/", {})):
        link = server.begin(path, 0, headers)
        with suppress(OSError):
            link.sendall(piece)
        assert select.select([link], [], [], 60)[0], "no more is waited for, and nothing grows"
        with suppress(ConnectionError):
            assert answer_to(link)[0] in (400, 401, 413)
        link.close()


#: Invalid first lines and heads: each was a reset connection, and a traceback in the log.
UNREADABLE = {
    "no request": b"GARBAGE\r\n\r\n",
    "a folded line where none can be": b"GET / HTTP/1.1\r\n folded\r\n\r\n",
    "a line that ends half": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "half an address of IPv6": b"GET http://[::1 HTTP/1.1\r\n\r\n",
    "an address that is none": b"GET http://[x]/ HTTP/1.1\r\n\r\n",
}


def test_a_head_that_cannot_be_read_is_a_400_and_no_traceback(server: Server) -> None:
    log = server.temp.with_name("web.log")
    before = log.stat().st_size
    for what, head in UNREADABLE.items():
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
            link.sendall(head)
            assert answer_to(link)[0] == 400, what
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        link.sendall(b"\r\n\r\n")  # empty lines before a request are skipped (RFC 9112, 2.2)
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert answer_to(link)[0] == 200
    assert b"Traceback" not in log.read_bytes()[before:]


def test_a_temporary_refusal_of_a_large_body_keeps_its_status(crowded: Callable[..., Any]) -> None:
    body = upload(3)
    with crowded(0, EXCHEQUER_API_RATE=0.2) as server:
        asking = f"http://127.0.0.1:{server.port}/api/v1/me/"
        while (answer := requests.get(asking, headers=server.key, timeout=60)).status_code != 429:
            assert answer.status_code == 200
        link = server.begin("/api/v1/datasets/", len(body), server.key)
        link.sendall(body[:-1])
        time.sleep(int(answer.headers["Retry-After"]))  # until the key may send again
        link.sendall(body[-1:])
        said = http.client.HTTPResponse(link)
        said.begin()
        problem = json.loads(said.read())
        assert (said.status, problem["code"]) == (429, "rate_limited"), problem
        assert int(said.headers["Retry-After"]) > 0


def test_an_upload_counts_once_in_the_rate_of_its_key(
    process_environment: Callable[..., dict[str, str]], transactional_db: None, s3: S3, tmp_path: Path
) -> None:
    tenant = factories.make_tenant("lab")
    headers = {"Authorization": f"Bearer {factories.make_api_key(tenant)}"}
    port = free_port()
    # So slow a rate gives nothing back while the test runs: what passes at once is the burst, ten seconds of it.
    environment = process_environment(
        EXCHEQUER_API_RATE="0.5", S3_ENDPOINT_URL=s3.endpoint_url, S3_BUCKET=s3.bucket, AWS_ACCESS_KEY_ID=s3.access_key, AWS_SECRET_ACCESS_KEY=s3.secret_key
    )  # fmt: skip
    with served(environment, port, tmp_path):
        answers = []
        for number in range(4):
            content = b"a,b\n" + b"%d,2\n" % number * (3 * MIB // 4)
            sent = requests.post(
                f"http://127.0.0.1:{port}/api/v1/datasets/",
                {"name": f"Large {number}"},
                files={"file": ("a.csv", content)},
                headers=headers,
                timeout=60,
            )
            answers.append(sent.status_code)
    assert answers == [201] * 4
