"""The fetcher as a real process (trust P5): which addresses it reaches, and how it deals with servers that misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from compute.sandbox import landlock
from tenants.outbound import client
from tests.support.servers.fetcher import Received, Receiver, RunningFetcher, fetcher, receiver
from tests.support.servers.ports import free_port

if TYPE_CHECKING:
    from pytest_django import Settings

# One fetcher and one canary serve the whole module: on one worker.
pytestmark = pytest.mark.xdist_group("fetcher")

Use = Callable[[RunningFetcher], None]

#: Names, and what each lookup of them answers.
NAMES = {
    "loopback.example": [["127.0.0.1"]],
    "other-loopback.example": [["127.8.9.10"]],
    "loopback6.example": [["::1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "private-10.example": [["10.0.0.1"]],
    "private-172.example": [["172.16.5.4"]],
    "private-192.example": [["192.168.1.1"]],
    "metadata.example": [["169.254.169.254"]],
    "metadata6.example": [["fd00:ec2::254"]],
    "cgnat.example": [["100.64.0.1"]],
    "any.example": [["0.0.0.0"]],  # noqa: S104 (an answer, bound to nothing)
    "any6.example": [["::"]],
    "multicast.example": [["224.0.0.1"]],
    "broadcast.example": [["255.255.255.255"]],
    "reserved.example": [["240.0.0.1"]],
    "mixed.example": [["93.184.216.34", "127.0.0.1"]],
    "mixed6.example": [["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"]],
    "nat64.example": [["64:ff9b::7f00:1"]],
    "6to4.example": [["2002:7f00:1::"]],
    "teredo.example": [["2001:0:7f00:1::80ff:fffe"]],
    "ula.example": [["fc00::1"]],
    "link-local6.example": [["fe80::1"]],
    "xn--mnchen-3ya.example": [["127.0.0.1"]],
    "allowed.example": [["127.0.0.1"]],
}
#: Each with the port of the canary in place of PORT.
VECTORS = (
    # Written addresses.
    "https://127.0.0.1:PORT/", "https://127.0.0.2:PORT/", "https://127.255.255.254:PORT/", "https://0.0.0.0:PORT/",
    "https://10.0.0.1:PORT/", "https://172.31.255.255:PORT/", "https://192.168.0.1:PORT/", "https://169.254.169.254:PORT/latest/meta-data/",
    "https://100.64.0.1:PORT/", "https://192.0.0.192:PORT/", "https://198.18.0.1:PORT/", "https://224.0.0.251:PORT/",
    "https://240.0.0.1:PORT/", "https://255.255.255.255:PORT/",
    # Spellings of 127.0.0.1 that inet_aton or a lenient parser reads.
    "https://2130706433:PORT/", "https://0x7f000001:PORT/", "https://017700000001:PORT/", "https://0x7f.0.0.1:PORT/",
    "https://0177.0.0.1:PORT/", "https://127.1:PORT/", "https://127.0.1:PORT/", "https://127.0.0.01:PORT/", "https://127.0.0.0x1:PORT/",
    "https://0:PORT/", "https://127.0.0.1.:PORT/", "https://00000127.0.0.1:PORT/", "https://127.0.0.1.0x:PORT/",
    "https://１２７.0.0.1:PORT/", "https://①②⑦.⓪.⓪.①:PORT/", "https://127。0。0。1:PORT/", "https://127%2e0%2e0%2e1:PORT/",
    # IPv6, and what embeds IPv4 in it.
    "https://[::1]:PORT/", "https://[::]:PORT/", "https://[0:0:0:0:0:0:0:1]:PORT/", "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/", "https://[::127.0.0.1]:PORT/", "https://[64:ff9b::7f00:1]:PORT/", "https://[64:ff9b:1::7f00:1]:PORT/",
    "https://[2002:7f00:1::]:PORT/", "https://[2001:0:7f00:1::80ff:fffe]:PORT/", "https://[fe80::1]:PORT/", "https://[fe80::1%25lo]:PORT/",
    "https://[::1%25lo]:PORT/", "https://[fc00::1]:PORT/", "https://[fd00:ec2::254]:PORT/", "https://[ff02::1]:PORT/",
    "https://[2001:db8::1]:PORT/", "https://[::ffff:0:127.0.0.1]:PORT/",
    # Names.
    "https://localhost:PORT/", "https://LOCALHOST:PORT/", "https://localhost.:PORT/", "https://ip6-localhost:PORT/",
    "https://loopback.example.:PORT/", "https://münchen.example:PORT/", "https://loopback.example\u3002:PORT/",
    *(f"https://{name}:PORT/" for name in NAMES if name != "allowed.example"),
    # Schemes, user names and parsers that disagree.
    "http://loopback.example:PORT/", "http://127.0.0.1:PORT/", "ftp://127.0.0.1:PORT/", "gopher://127.0.0.1:PORT/_x", "file:///etc/passwd",
    "//127.0.0.1:PORT/", "https:127.0.0.1:PORT", "https:///127.0.0.1:PORT/", "https://allowed.example@127.0.0.1:PORT/",
    "https://user:pass@loopback.example:PORT/", "https://allowed.example:PORT@127.0.0.1:PORT/", "https://127.0.0.1:PORT#@allowed.example:PORT/",
    "https://127.0.0.1:PORT\\@allowed.example:PORT/", "https://127.0.0.1\\.allowed.example:PORT/", "https://allowed.example\r\nHost: x:PORT/",
    "https:// 127.0.0.1:PORT/", "https://127.0.0.1 :PORT/", "https://[127.0.0.1]:PORT/", "https://[loopback.example]:PORT/",
    "https://loopback.example:PORT:PORT/", "https://127.0.0.1:0PORT/", "https://127.0.0.1:+PORT/", "https://\u200b127.0.0.1:PORT/",
)  # fmt: skip


class Canary:
    """Listens on one port of every address of this machine, IPv4 and where there is one IPv6, and counts connections."""

    def __init__(self) -> None:
        self.port = free_port()
        self.connections = 0
        self.listeners = [socket.create_server(("", self.port), backlog=64)]
        if socket.has_ipv6:
            with suppress(OSError):  # this machine has no IPv6
                self.listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self.listeners:
            threading.Thread(target=self._count, args=(listener,), daemon=True).start()

    def _count(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    made = Canary()
    yield made
    made.close()


@pytest.fixture(scope="module")
def guarded(canary: Canary) -> Iterator[RunningFetcher]:
    """A fetcher that may use the canary's port everywhere, so that addresses alone decide."""
    with fetcher(f"*:{canary.port},allowed.example:{canary.port}") as running:
        running.resolve(NAMES)
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def asking(server: Receiver) -> Iterator[RunningFetcher]:
    """A fetcher that may ask the receiver."""
    allow = f"localhost:{server.port},127.0.0.1:{server.port},named.example:{server.port},127.0.0.2/32,*:{server.port}"
    with fetcher(allow, server.authority) as running:
        yield running


@pytest.fixture
def use(settings: Settings) -> Use:
    def point(running: RunningFetcher) -> None:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": str(running.socket)})

    return point


@pytest.fixture
def served(server: Receiver, asking: RunningFetcher, use: Use) -> Receiver:
    use(asking)
    server.received.clear()
    server.answer = lambda handler, request: 200
    return server


def test_no_spelling_of_an_address_reaches_this_machine(canary: Canary, guarded: RunningFetcher, use: Use) -> None:
    use(guarded)
    assert len(VECTORS) >= 60
    assert len(set(VECTORS)) == len(VECTORS)
    before, reached, answered = canary.connections, [], []
    for vector in VECTORS:
        url = vector.replace("PORT", str(canary.port))
        for ask in (lambda url: client.fetch("GET", url, limits=client.Limits(timeout_s=3)), client.check):
            try:
                ask(url)
                answered.append(vector)
            except client.AddressRefused:
                pass
            except client.ConnectionFailed as error:
                # A name of /etc/hosts may be missing on this machine.
                if "is not known" not in error.message:
                    answered.append(vector)
        if canary.connections != before:
            reached.append(vector)
            before = canary.connections
    assert reached == []
    assert answered == []
    # The canary counts: an allowed target reaches it.
    with pytest.raises(client.OutboundError):
        client.fetch("GET", f"https://allowed.example:{canary.port}/", limits=client.Limits(timeout_s=5))
    assert canary.connections > before


def test_other_ports_are_refused_before_a_lookup(guarded: RunningFetcher, use: Use) -> None:
    use(guarded)
    for port in (22, 80, 5432, 6379, 8443):
        with pytest.raises(client.AddressRefused, match=f"Port {port} is not permitted"):
            client.fetch("GET", f"https://port.example:{port}/")
    assert guarded.asked("port.example") == 0


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    served: Receiver, asking: RunningFetcher, canary: Canary
) -> None:
    """The second lookup would lead to the receiver; the first leads where nobody listens."""
    asking.resolve({"rebound.example": [["127.0.0.2"], ["127.0.0.1"]]})
    with pytest.raises(client.ConnectionFailed):
        client.fetch("GET", f"https://rebound.example:{served.port}/")
    assert asking.asked("rebound.example") == 1
    assert served.received == []
    with pytest.raises(client.AddressRefused):
        client.fetch("GET", f"https://rebound.example:{served.port}/")
    assert served.received == []


def test_the_process_has_no_variables_and_its_socket_is_its_users_alone(guarded: RunningFetcher) -> None:
    variables = Path(f"/proc/{guarded.process.pid}/environ").read_bytes().decode().strip("\0").split("\0")
    # PYTHONPATH leads to the resolver of these tests.
    assert {text.partition("=")[0] for text in variables} == {"PATH", "PYTHONPATH", "EXCHEQUER_OUTBOUND_ALLOW"}
    assert guarded.socket.stat().st_mode & 0o777 == 0o600
    loaded = (Path(f"/proc/{guarded.process.pid}") / "maps").read_text()
    assert "psycopg" not in loaded


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel cannot restrict files and signals")
def test_who_takes_the_process_over_reads_no_secret_and_reaches_no_service_of_this_machine(
    use: Use, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets.json"
    secret.write_text("{}")
    database = tmp_path / "db"
    with socket.socket(socket.AF_UNIX) as listener, fetcher() as running:
        listener.bind(str(database))
        listener.listen()
        use(running)
        assert running.probe(secret, database) == ["PermissionError"] * 5
        assert running.log == "", "nothing is missing"
        status = Path(f"/proc/{running.process.pid}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status


def test_a_request_arrives_as_it_was_meant(served: Receiver) -> None:
    answer = client.fetch("POST", f"{served.url}/hooks?a=1", headers={"X-Mine": "yes"}, body=b'{"x":1}')
    assert (answer.status, answer.body, answer.whole, answer.header("Content-Length")) == (200, b"ok", True, "2")
    (request,) = served.received
    assert (request.method, request.path, request.body) == ("POST", "/hooks?a=1", b'{"x":1}')
    assert request.headers["host"] == f"localhost:{served.port}"
    assert request.headers["x-mine"] == "yes"
    assert request.headers["content-length"] == "7"
    assert "cookie" not in request.headers


@pytest.mark.parametrize(
    "headers", [{"Host": "other.example"}, {"Content-Length": "1"}, {"X": "a\r\nY: b"}, {"Proxy-Authorization": "x"}]
)
def test_a_header_that_changes_the_request_is_refused(served: Receiver, headers: dict[str, str]) -> None:
    with pytest.raises(client.AddressRefused):
        client.fetch("GET", served.url, headers=headers)
    assert served.received == []


def test_no_redirect_is_followed_and_no_cookie_is_kept(served: Receiver) -> None:
    def redirect(handler: BaseHTTPRequestHandler, request: Received) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"https://127.0.0.1:{served.port}/inside")
        handler.send_header("Set-Cookie", "a=1")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    served.answer = redirect
    for _ in range(2):
        answer = client.fetch("GET", served.url)
        assert (answer.status, answer.header("location")) == (302, f"https://127.0.0.1:{served.port}/inside")
    assert [request.path for request in served.received] == ["/", "/"]
    assert all("cookie" not in request.headers for request in served.received)


@pytest.mark.parametrize("trickles", [False, True])
def test_a_server_that_hangs_is_left_at_the_time_limit(served: Receiver, trickles: bool) -> None:
    def hang(handler: BaseHTTPRequestHandler, request: Received) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while trickles and not served.gone.wait(0.1):
            handler.wfile.write(b"x")
            handler.wfile.flush()
        served.gone.wait(30)

    served.answer = hang
    with pytest.raises(client.OutboundTimeout):
        client.fetch("GET", served.url, limits=client.Limits(timeout_s=1))


def test_a_body_of_100_mb_is_refused_or_cut(served: Receiver) -> None:
    sent = []

    def pour(handler: BaseHTTPRequestHandler, request: Received) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(100 * 1024 * 1024))
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * 1024 * 1024)
            sent.append(1)

    served.answer = pour
    with pytest.raises(client.AnswerTooLarge, match="larger than 65,536 bytes"):
        client.fetch("GET", served.url, limits=client.Limits(max_bytes=65_536))
    answer = client.fetch("GET", served.url, limits=client.Limits(max_bytes=1000, cut=True))
    assert (answer.status, answer.body, answer.whole) == (200, b"x" * 1000, False)
    assert len(sent) < 100


def test_certificates_are_verified(served: Receiver, asking: RunningFetcher, use: Use) -> None:
    asking.resolve({"named.example": [["127.0.0.1"]]})
    with pytest.raises(client.TlsFailed):  # the certificate names localhost
        client.fetch("GET", f"https://named.example:{served.port}/")
    with fetcher(f"localhost:{served.port}") as stranger:
        use(stranger)
        with pytest.raises(client.TlsFailed):  # its authority is not trusted
            client.fetch("GET", served.url)
    assert served.received == []


def test_one_tenants_hanging_servers_leave_room_for_others(served: Receiver) -> None:
    def hang(handler: BaseHTTPRequestHandler, request: Received) -> int | None:
        if request.path == "/quick":
            return 200
        served.gone.wait(20)
        return None

    served.answer = hang
    slow, refused = uuid4(), []

    def ask() -> None:
        try:
            client.fetch("GET", f"{served.url}/slow", limits=client.Limits(timeout_s=4), tenant_id=slow)
        except client.FetcherUnavailable:
            refused.append(1)
        except client.OutboundTimeout:
            pass

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert client.fetch("GET", f"{served.url}/quick", tenant_id=uuid4()).status == 200
    for thread in threads:
        thread.join()
    assert len(refused) == 12


def test_without_a_fetcher_the_error_says_that_it_is_ours(settings: Settings, tmp_path: Path) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": str(tmp_path / "none")})
    with pytest.raises(client.FetcherUnavailable):
        client.check("https://example.com/")
