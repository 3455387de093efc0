"""A small SMTP server on loopback with the real protocol, which keeps accepted emails and refuses on request."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


class _Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.server.called.release()
        while self.server.hangs:
            # A byte at intervals: every single wait is short, and the line never ends.
            self.wfile.write(b"2" if self.server.trickles else b"")
            if self.server.gone.wait(0.2):
                return
        self._say("220 loopback")
        while line := self.rfile.readline():
            verb = line.split(b" ")[0].strip().upper().decode()
            if verb in ("EHLO", "HELO"):
                self._say("250-loopback\r\n250 SMTPUTF8")
            elif verb == "RCPT":
                self._say(self.server.answer_to("RCPT", "250 ok"))
            elif verb == "DATA":
                self._take()
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _take(self) -> None:
        self._say("354 go on")
        body = b""
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            body += line.removeprefix(b".") if line.startswith(b"..") else line
        answer = self.server.answer_to("DATA", "250 taken")
        if answer.startswith("250"):
            self.server.taken.append(message_from_bytes(body, policy=policy.default))  # type: ignore[arg-type]
        if self.server.hang_up_after_taking:
            self.connection.shutdown(socket.SHUT_RDWR)  # closing it leaves it open: the files on it hold it too
            return
        self._say(answer)

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()


class MailServer(socketserver.ThreadingTCPServer):
    """`taken` holds the emails; `refusals` maps a verb to replies that are given once each, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.taken: list[EmailMessage] = []
        self.refusals: dict[str, list[str]] = {}
        self.hang_up_after_taking = False
        self.hangs = self.trickles = False
        self.called = threading.Semaphore(0)
        self.gone = threading.Event()

    @property
    def url(self) -> str:
        """Return the EMAIL_URL of this server."""
        return f"smtp://127.0.0.1:{self.server_address[1]}?from=Exchequer%20<noreply@exchequer.example>"

    def answer_to(self, verb: str, otherwise: str) -> str:
        """Return the next refusal of a verb, or the usual reply."""
        left = self.refusals.get(verb, [])
        return left.pop(0) if left else otherwise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that hangs up."""


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Serve while the block runs."""
    server = MailServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gone.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
