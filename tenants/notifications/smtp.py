"""SMTP with a total time limit: a server that hangs, or sends a byte a minute, blocks an email only that long."""

from __future__ import annotations

import smtplib
import socket
import threading
from contextlib import suppress
from typing import Any

from django.core.mail.backends.smtp import EmailBackend

#: For a whole conversation; each single wait has EMAIL_TIMEOUT.
MOST_S = 60.0


class Bounded:
    """Disconnects when a conversation takes too long."""

    sock: socket.socket | None
    _end: threading.Timer | None = None

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        self._end = threading.Timer(MOST_S, self._hang_up)
        self._end.daemon = True
        self._end.start()
        opened: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        return opened

    def _hang_up(self) -> None:
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # readers see the connection as closed

    def close(self) -> None:
        """Close, and stop the timer."""
        if self._end is not None:
            self._end.cancel()
        super().close()  # type: ignore[misc]


class Plain(Bounded, smtplib.SMTP):
    """SMTP, or with STARTTLS."""


class Encrypted(Bounded, smtplib.SMTP_SSL):
    """SMTP inside TLS."""


class Backend(EmailBackend):
    """Django's SMTP backend with such connections."""

    @property
    def connection_class(self) -> Any:
        """Return the class of the connection."""
        return Encrypted if self.use_ssl else Plain
