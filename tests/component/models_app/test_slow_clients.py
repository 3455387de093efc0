"""Slow clients: bodies that never start, responses that nobody reads, records that take long."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import replace

import pytest
import requests
import uvloop

from deploy.server import connection_limits
from models_app.serving.gateway import app, limits
from tests.component.models_app.test_serving_http import GOOD, post
from tests.fakes.serving import NUMBERS, Memory, Server, serving
from tests.support.waiting import wait_until

MANY = json.dumps({"instances": [[1, 2, 3, 4]] * 4096}).encode()
"""Rows whose response, with the scores of a hundred classes, is about 10 MB long."""


class Real(Server):
    """A server on the production event loop, which decides how much it sends ahead."""

    def _run(self) -> None:
        uvloop.run(self._server.serve(sockets=[self._listener]))

    @property
    def unsent(self) -> list[int]:
        """Return the unsent bytes of each open connection."""
        return [one.transport.get_write_buffer_size() for one in list(self._server.server_state.connections)]


@pytest.fixture
def digits(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("digit", NUMBERS, tuple(range(100)), slo_ms=60_000)
    server = Real(backend, tmp_path / "home")
    try:
        wait_until(lambda: server.serves("digit"), "it is served")
        yield backend, server
    finally:
        server.stop()


def connect(server: Server) -> socket.socket:
    """Connect as a client with a tiny receive buffer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.settimeout(60)
    return connection


def head(key: str, name: str, length: int, more: str = "") -> bytes:
    """Return the header of a request."""
    said = f"POST /v1/models/{name}:predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    return f"{said}Content-Length: {length}\r\n{more}\r\n".encode()


@pytest.mark.parametrize("begun", [b"", b"{"])
def test_a_body_that_does_not_arrive_times_out(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(app, "LIMITS", replace(app.LIMITS, arrive_s=0.5))
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server, connect(server) as connection:
        connection.settimeout(15)
        connection.sendall(head(backend.key("price"), "price", 100) + begun)
        assert connection.recv(200).startswith(b"HTTP/1.1 408 ")
        assert not server.app.budget.held


def test_a_key_revoked_with_its_endpoint_while_the_body_arrives_is_refused(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    rows = json.dumps(GOOD).encode()
    with serving(backend, tmp_path / "home", "price") as server, connect(server) as connection:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        connection.sendall(head(key, "price", len(rows)) + rows[:1])
        wait_until(lambda: server.app.budget.by_key, "the key is trusted, its body is being read")
        backend.undeploy("price")
        wait_until(lambda: not server.serves("price"), "its endpoint has left")
        connection.sendall(rows[1:])
        assert connection.recv(200).startswith(b"HTTP/1.1 401 ")


def test_an_answer_whose_record_is_being_written_is_sent_however_late(tmp_path, monkeypatch):
    slow = [0.0]

    def write(file: int, data: bytes) -> int:
        time.sleep(slow[0])
        return os.write(file, data)

    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price", write=write) as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        monkeypatch.setattr(app, "ANSWER_S", 3.0)
        slow[0] = 4.0
        assert post(server, key, "price", GOOD).status_code == 200, "it is charged, so it is sent"
        slow[0] = 0.0
        assert post(server, key, "price", GOOD).status_code == 200
        wait_until(lambda: backend.requests() == 3, "what was answered is charged")


def test_an_unread_response_counts_and_ends_with_its_connection(digits, monkeypatch):
    monkeypatch.setattr(connection_limits, "UNREAD_S", 2.0)
    backend, server = digits
    with connect(server) as connection:
        connection.sendall(head(backend.key("digit"), "digit", len(MANY)) + MANY)
        wait_until(lambda: sum(server.unsent) > 4 << 20, "it is kept")
        assert server.app.budget.held > 4 << 20
        wait_until(lambda: not server.unsent and not server.app.budget.held, "it is thrown away with the connection")
    with connect(server) as connection:  # a slow reader gets all of it
        connection.sendall(head(backend.key("digit"), "digit", len(MANY), "Connection: close\r\n") + MANY)
        wait_until(lambda: sum(server.unsent) > 4 << 20, "it waits")
        seen = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        assert len(json.loads(seen.partition(b"\r\n\r\n")[2])["predictions"]) == 4096


def test_an_answer_that_does_not_fit_beside_those_unread_is_refused_and_costs_nothing(digits, monkeypatch):
    backend, server = digits
    budget = server.app.budget
    monkeypatch.setattr(budget, "limits", replace(budget.limits, of_key=15 << 20))
    keys = [backend.key("digit") for _ in range(2)]

    def ask(key: str) -> requests.Response:
        return post(server, key, "digit", MANY)

    with connect(server) as connection:
        connection.sendall(head(keys[0], "digit", len(MANY)) + MANY)
        wait_until(lambda: sum(server.unsent) > 4 << 20, "it is kept")
        answer = ask(keys[0])
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (429, "rate_limited", "1")
        assert ask(keys[1]).status_code == 200
        monkeypatch.setattr(budget, "limits", replace(budget.limits, in_all=15 << 20))
        assert ask(keys[1]).json()["code"] == "unavailable"
    wait_until(lambda: not server.app.budget.held and not server.app.budget.by_key, "who hangs up holds nothing")
    assert ask(keys[0]).status_code == 200
    monkeypatch.setattr(limits, "MAX_ANSWER", 1 << 20)
    answer = ask(keys[0])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    wait_until(lambda: backend.requests() == 3, "what was answered is charged")
    time.sleep(0.5)  # for anything more that might be charged
    assert backend.requests() == 3


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_an_unread_response_keeps_no_connection_open(digits, monkeypatch, more):
    monkeypatch.setattr(connection_limits, "UNREAD_S", 2.0)
    backend, server = digits
    server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    few = json.dumps({"instances": [[1, 2, 3, 4]] * 16}).encode()  # fits into what is sent ahead
    with connect(server) as connection:
        connection.sendall(head(backend.key("digit"), "digit", len(few), more) + few)
        kept = "its end is kept, and no room is held for it"
        wait_until(lambda: sum(server.unsent) > 8 << 10 and not server.app.budget.held, kept)
        wait_until(lambda: not server.unsent, "it is thrown away with the connection")
        assert not server.app.budget.held
