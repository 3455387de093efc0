"""Clients that take their time: bodies that never begin, answers that nobody reads, records that are long in coming."""

from __future__ import annotations

import os
import socket
import time

import pytest

from models_app.serving import app, body
from tests.fakes.serving import NUMBERS, Memory, Server, serving, until
from tests.unit.test_serving_http import GOOD, post


def connect(server: Server) -> socket.socket:
    """Connect as a client with next to no room for an answer."""
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
def test_a_body_that_does_not_come_is_not_waited_for(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(body, "BODY_S", 0.5)
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server, connect(server) as connection:
        connection.settimeout(15)
        connection.sendall(head(backend.key("price"), "price", 100) + begun)
        assert connection.recv(200).startswith(b"HTTP/1.1 408 ")
        assert not server.app.room.held


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
        until(lambda: backend.requests() == 3, "what was answered is charged")
