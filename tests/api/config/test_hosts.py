"""No header chosen by a client affects rate limits, links, or the host that we accept."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from django.conf import settings
from django.core import mail
from django.test import Client, override_settings

from config import settings as shipped
from tests.support import factories
from tests.support.servers import proxy
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
FORGED = [
    {"HTTP_HOST": "127.0.0.1:{}"},
    {"HTTP_HOST": "localhost:{}"},
    {"HTTP_X_FORWARDED_HOST": "h{}.example"},
    {"HTTP_X_FORWARDED_FOR": "203.0.113.{}"},
    {"HTTP_X_REAL_IP": "203.0.113.{}"},
    {"HTTP_X_FORWARDED_PORT": "{}"},
    {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_USER_AGENT": "{}"},
    {"HTTP_FORWARDED": "for=203.0.113.{};host=h{}.example;proto=https"},
    {"HTTP_REFERER": "http://h{}.example/"},
    {"HTTP_ORIGIN": "http://h{}.example"},
]


def forged(headers: dict[str, str], number: int) -> dict[str, Any]:
    return {name: value.replace("{}", str(number)) for name, value in headers.items()}


@pytest.mark.django_db
@pytest.mark.parametrize("headers", FORGED, ids=lambda headers: next(iter(headers)))
def test_no_header_gives_another_try_at_a_password(headers: dict[str, str]) -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")
    client = Client()
    for number in range(1, 6):
        wrong = {"login": user.email.upper() if number % 2 else user.email, "password": "wrong"}
        client.post("/accounts/login/", wrong, **forged(headers, 2000 + number))
    right = {"login": user.email, "password": factories.PASSWORD}
    for number in range(6, 9):
        held = client.post("/accounts/login/", right, **forged(headers, 2000 + number))
        assert (held.status_code, held["Retry-After"]) == (429, "300")
        assert "_auth_user_id" not in client.session
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    elsewhere.post("/accounts/login/", right)
    assert "_auth_user_id" in elsewhere.session, "who is held up is the one who guessed"


@pytest.mark.django_db
def test_an_account_is_held_for_all_when_very_many_addresses_guess() -> None:
    shipped = settings.ACCOUNT_RATE_LIMITS
    allowed, _, _ = str(shipped["login_failed_anywhere"]).partition("/h/key")
    assert int(allowed) >= 10 * 60, "one address comes to sixty an hour: it holds nobody"
    user = factories.make_member(factories.make_tenant(), "viewer")
    with override_settings(ACCOUNT_RATE_LIMITS={**shipped, "login_failed_anywhere": "20/h/key"}):
        for number in range(20):
            Client(REMOTE_ADDR=f"192.0.2.{number}").post("/accounts/login/", {"login": user.email, "password": "wrong"})
        client = Client(REMOTE_ADDR="198.51.100.1")
        client.post("/accounts/login/", {"login": user.email, "password": factories.PASSWORD})
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, *FORGED, {"HTTP_HOST": "evil.example"}], ids=str)
def test_no_header_decides_where_the_link_of_a_new_password_leads(headers: dict[str, str]) -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")
    with override_settings(ALLOWED_HOSTS=["*"]):
        Client().post("/accounts/password/reset/", {"email": user.email.upper()}, **forged(headers, 2001))
    (letter,) = mail.outbox
    assert letter.to == [user.email]
    assert re.findall(r"https?://[^/\s]+", str(letter.body)) == ["http://127.0.0.1:8000"]
    assert not re.search(
        r"evil|h2001|2001|203\.0|localhost",
        f"{letter.subject} {letter.body}".replace(user.email, "").partition("/accounts")[0],
    )
    path = re.findall(r"http://127.0.0.1:8000(\S+)", str(letter.body))[0]
    assert Client().get(path, follow=True).status_code == 200


@pytest.mark.django_db
def test_an_address_without_an_account_gets_no_email() -> None:
    assert Client().post("/accounts/password/reset/", {"email": "nobody@example.org"}).status_code == 302
    assert mail.outbox == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("exchequer.example", 200),
        ("EXCHEQUER.example:443", 200),
        ("exchequer.example:8443", 400),
        ("evil.example", 400),
        ("127.0.0.1:2000", 400),
        ("127.0.0.1:443", 400),
        ("127.0.0.1:8000", 200),
        ("exchequer.example.", 200),
        ("exchequer.example:443@evil.example", 400),
    ],
)
def test_another_host_or_port_than_the_public_one_is_a_400(settings: Any, host: str, status: int) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"public_url": "https://exchequer.example"})
    settings.ALLOWED_HOSTS = ["127.0.0.1", "exchequer.example"]
    secure = {"wsgi.url_scheme": "https"} if ":8000" not in host else {}
    for path in ("/accounts/login/", "/api/schema/"):
        answer = Client().get(path, HTTP_HOST=host, SERVER_PORT="8000", **secure)
        assert answer.status_code == status
    assert Client().get("/api/v1/me/", HTTP_HOST=host, SERVER_PORT="8000", **secure).status_code in (401, status)
    assert Client().get("/healthz", HTTP_HOST="10.0.0.17:8000" if status == 400 else host).status_code in (200, 400)


@dataclass
class Behind:
    """The product behind a proxy that terminates TLS."""

    url: str
    file: Path
    port: int
    email: str
    slug: str

    def log_in(self, session: requests.Session, password: str = factories.PASSWORD, **forged: str) -> str:
        """Submit the form as a browser does; return the redirect target."""
        start = self.url
        session.get(f"{start}/accounts/login/", headers=forged, timeout=30).raise_for_status()
        form = {
            "login": self.email,
            "password": password,
            "csrfmiddlewaretoken": session.cookies.get("csrftoken") or "",
        }
        headers = {"Origin": start, "Referer": f"{start}/accounts/login/", **forged}
        sent = session.post(f"{start}/accounts/login/", form, headers=headers, allow_redirects=False, timeout=30)
        return f"{sent.status_code} {sent.headers.get('Location', '')}".strip()


@contextmanager
def served(environment: dict[str, str], port: int, folder: Path, *, processes: int = 1) -> Iterator[int]:
    """Run the web server on a port while the block runs; gives the number of its first process."""
    command = [sys.executable, "-m", "deploy.server.web", "--port", str(port), "--processes", str(processes)]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/healthz"), "the web server")
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def behind(
    process_environment: Callable[..., dict[str, str]], transactional_db: None, tmp_path: Path
) -> Iterator[Behind]:
    """One web process behind one proxy."""
    slug, email = make_owner()
    port = free_port()
    with proxy.proxy(port, tmp_path) as hop:
        environment = process_environment(
            EXCHEQUER_TLS="1", EXCHEQUER_PUBLIC_URL=hop.url, EXCHEQUER_TRUSTED_PROXIES=proxy.ADDRESS
        )
        with served(environment, port, tmp_path):
            yield Behind(hop.url, hop.file, port, email, slug)


def make_owner() -> tuple[str, str]:
    """Return the slug of a tenant and the address of an owner whose password the product itself can check."""
    tenant = factories.make_tenant("lab")
    with override_settings(PASSWORD_HASHERS=shipped.PASSWORD_HASHERS):
        return tenant.slug, factories.make_member(tenant, "owner").email


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:  # the port is open before the server answers
        return False


def test_log_in_through_a_proxy_that_ends_tls(behind: Behind, superuser: psycopg.Connection) -> None:
    person = proxy.visitor("127.0.0.11", behind.file)
    claim = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    assert behind.log_in(person, **claim) == "302 /"
    cookie = next(cookie for cookie in person.cookies if cookie.name == "__Host-exchequer")
    assert cookie.secure
    page = person.get(f"{behind.url}/t/{behind.slug}/members/", timeout=30)
    assert page.status_code == 200
    assert "max-age" in page.headers["Strict-Transport-Security"]
    listed = person.get(f"{behind.url}/api/v1/audit/?limit=1", timeout=30).json()
    assert listed["next"] is None or listed["next"].startswith(behind.url)
    made = person.post(
        f"{behind.url}/api/v1/projects/",
        json={"slug": "seen", "name": "Seen"},
        headers={"X-CSRFToken": person.cookies.get("csrftoken") or "", "Referer": behind.url, **claim},
        timeout=30,
    )
    assert made.status_code == 201, made.text
    entries = person.get(f"{behind.url}/api/v1/audit/?action=tenants.project.created", timeout=30).json()["results"]
    assert {entry["ip"] for entry in entries if entry["ip"]} == {"127.0.0.11"}
    for host in ("evil.example", f"localhost:{behind.port + 1}"):
        assert person.get(f"{behind.url}/accounts/login/", headers={"Host": host}, timeout=30).status_code == 400
    person.post(
        f"{behind.url}/accounts/password/reset/",
        {"email": behind.email, "csrfmiddlewaretoken": person.cookies.get("csrftoken") or ""},
        headers={"Origin": behind.url, "X-Forwarded-Host": "evil.example"},
        timeout=30,
    )
    folder, link = Path(os.environ["EXCHEQUER_HOME"]) / "mail", f"{behind.url}/accounts/password/reset/key/"
    wait_until(lambda: any(link in file.read_text() for file in folder.glob("*.eml")), "the letter, sent aside")
    guesser = proxy.visitor("127.0.0.12", behind.file)
    for number in range(5):
        assert behind.log_in(guesser, password="wrong", **{"X-Forwarded-For": f"203.0.113.{number}"}) == "200"
    assert behind.log_in(guesser, **{"X-Forwarded-For": "203.0.113.77"}) == "429", "held up, whatever it claims"
    assert behind.log_in(proxy.visitor("127.0.0.13", behind.file)) == "302 /", "nobody else is"
    # An absolute URL in the request line is the requested host, whatever the header says.
    for target, status in (("http://evil.example", 400), (f"http://127.0.0.1:{behind.port}", 200)):
        head = f"GET {target}/accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1:{behind.port}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", behind.port), 30) as line:
            line.sendall(head.encode())
            assert int(line.recv(1000).split()[1]) == status
    # A client that bypasses the proxy is not trusted: it is itself, and over plain HTTP.
    direct = requests.get(
        f"http://127.0.0.1:{behind.port}/accounts/login/",
        headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.13"},
        timeout=30,
    )
    assert "Strict-Transport-Security" not in direct.headers


def test_an_answer_to_head_leaves_nothing_for_the_next_one_on_its_connection(
    process_environment: Callable[..., dict[str, str]], transactional_db: None, tmp_path: Path
) -> None:
    port, host = free_port(), "Host: 127.0.0.1\r\n"
    paths = ("/accounts/login/", "/api/v1/me/", "/nowhere", "/healthz", "/static/nothing.css", "/api/schema/")
    heads = "".join(f"HEAD {path} HTTP/1.1\r\n{host}\r\n" for path in paths)
    with (
        served(process_environment(), port, tmp_path),
        socket.create_connection(("127.0.0.1", port), timeout=60) as link,
        link.makefile("rb") as answers,
    ):
        link.sendall(f"{heads}GET /healthz HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode())
        *found, body = answers.read().split(b"\r\n\r\n")
    assert [head[:9] for head in found] == [b"HTTP/1.1 "] * (len(paths) + 1)
    assert body and not body.startswith(b"HTTP/1.1 ")
