"""HEAD is answered without a body, so the next response on the connection is the next."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

from django.test import Client

from tests.api.config.test_hosts import served
from tests.support import factories
from tests.support.servers.ports import free_port

NEXT = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def everything(link: socket.socket) -> bytes:
    received = b""
    while piece := link.recv(65536):
        received += piece
    return received


def test_head_sends_no_body_and_the_next_response_on_the_connection_is_the_next(
    process_environment: Callable[..., dict[str, str]], transactional_db: None, tmp_path: Path
) -> None:
    tenant = factories.make_tenant("lab")
    key = f"Authorization: Bearer {factories.make_api_key(tenant)}"
    person = Client()
    person.force_login(factories.make_member(tenant, "owner"))
    session = f"Cookie: exchequer={person.cookies['exchequer'].value}"
    paths = [("/api/v1/me/", key), ("/api/v1/audit/export/", key), ("/accounts/login/", ""), ("/nothing", "")]
    paths += [(f"/t/lab/{name}", session) for name in ("members/", "members/?export=csv", "audit/?export=csv")]
    paths += [("/static/nothing.css", ""), ("/healthz", ""), ("/api/v1/me/", "")]
    port = free_port()
    with served(process_environment(), port, tmp_path):
        for path, header in paths:
            head = f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (f"{header}\r\n" if header else "") + "\r\n"
            with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
                link.sendall(head.encode() + NEXT)
                answer, _, after = everything(link).partition(b"\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404", b"HTTP/1.1 401")), (path, answer)
            if b"Connection: close" in answer:
                assert after == b"", path
            else:
                length = re.search(rb"Content-Length: (\d+)", answer)
                assert length and int(length[1]) > 0, "the length of a GET"
                assert after.startswith(b"HTTP/1.1 200 OK\r\n"), (path, after[:100])
                assert after.endswith(b'{"status": "alive"}')
