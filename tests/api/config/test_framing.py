"""A request whose body may end in two places is refused: what follows would be read as another person's request."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from tests.api.config.test_heads import everything
from tests.api.config.test_hosts import served
from tests.support.servers.ports import free_port

HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
CHUNKS = b"0\r\n\r\n" + HIDDEN
LENGTH = b"Content-Length: %d\r\n" % len(CHUNKS)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "length before chunks": (b"1.1", LENGTH + CHUNKED),
    "chunks before length": (b"1.1", CHUNKED + LENGTH),
    "chunks in HTTP/1.0": (b"1.0", CHUNKED + b"Connection: keep-alive\r\n"),
    "length and chunks in HTTP/1.0": (b"1.0", CHUNKED + LENGTH + b"Connection: keep-alive\r\n"),
    "a version between": (b"1.2", CHUNKED),
    "another version": (b"2.0", LENGTH),
}


def test_nothing_behind_an_ambiguous_body_is_read_as_a_request(
    process_environment: Callable[..., dict[str, str]], transactional_db: None, tmp_path: Path
) -> None:
    port, answers = free_port(), {}
    with served(process_environment(), port, tmp_path):
        for name, (version, framing) in AMBIGUOUS.items():
            head = b"POST /healthz HTTP/%b\r\nHost: 127.0.0.1\r\n%b\r\n" % (version, framing)
            with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
                link.sendall(head + CHUNKS)
                answers[name] = everything(link)
    found = {name: (answer[9:12], answer.count(b"HTTP/1.")) for name, answer in answers.items()}
    assert found == dict.fromkeys(AMBIGUOUS, (b"400", 1))
