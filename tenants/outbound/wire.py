"""Messages between client and fetcher: 4 bytes of length, a JSON object, then as many bytes as its `length` says."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

MOST_HEAD_BYTES = 256 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024


class Broken(OSError):
    """The other side ended the connection, or sent what is no message."""


def send(connection: socket.socket, head: dict[str, Any], body: bytes = b"") -> None:
    """Send one message. Raises `OSError`."""
    text = json.dumps({**head, "length": len(body)}).encode()
    connection.sendall(struct.pack("!I", len(text)) + text + body)


def receive(connection: socket.socket, deadline: float) -> tuple[dict[str, Any], bytes]:
    """Return the next message, head and body; `deadline` is one of `time.monotonic()`.

    Raises `TimeoutError` at the deadline, `Broken` for what is no message, `OSError` for a lost connection.
    """
    (size,) = struct.unpack("!I", _exactly(connection, 4, deadline))
    if size > MOST_HEAD_BYTES:
        raise Broken("a message is too long")
    try:
        head = json.loads(_exactly(connection, size, deadline))
        length = head["length"]
    except (ValueError, KeyError, TypeError):
        raise Broken("a message cannot be read") from None
    if not isinstance(length, int) or not 0 <= length <= MOST_BODY_BYTES:
        raise Broken("a message is too long")
    return head, _exactly(connection, length, deadline)


def _exactly(connection: socket.socket, size: int, deadline: float) -> bytes:
    parts, missing = [], size
    while missing:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        connection.settimeout(left)
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            raise Broken("the connection ended")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
