"""Tasks of the web server: have the application answer a request, refuse a body, or ask whether a large one may come."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from waitress.task import WSGITask
from waitress.utilities import Error

from tenants.errors import ExchequerError, RateLimited, Unavailable
from tenants.web.error_pages import REFUSED
from tenants.web.large_bodies import sender_of
from tenants.web.rate_limits import COUNTED

if TYPE_CHECKING:
    from deploy.server.request_limits import Channel, Parser


class Refused(Error):  # type: ignore[misc]
    """A body that is not taken in. `answer`: the status or the error to answer with; 0 lets the application say why."""

    code, reason = 403, "Forbidden"

    def __init__(self, answer: int | ExchequerError = 0) -> None:
        super().__init__("refused")
        self.answer = answer


class Task(WSGITask):  # type: ignore[misc]
    """Has the application answer a request; one whose body it was asked about is already counted."""

    def get_environment(self) -> dict[str, Any]:
        """Return the request as the application reads it."""
        environ: dict[str, Any] = super().get_environment()
        return environ | {COUNTED: self.request.asked}

    def finish(self) -> None:
        """End the response; waitress would end one to HEAD with an empty chunk, which is a body."""
        if self.request.command == "HEAD":
            self.write(b"")
            self.chunked_response = False
        super().finish()


class RefusalTask(Task):
    """Has the application answer a request whose body was dropped; the connection ends with the answer."""

    def get_environment(self) -> dict[str, Any]:
        """Return the request without a body, marked as refused unless the application itself knows why."""
        environ: dict[str, Any] = super().get_environment()
        request = self.request
        answer = request.error.answer if isinstance(request.error, Refused) else 413
        if not answer and request.body_bytes_received + request.dropped >= self.channel.adj.max_request_body_size:
            answer = 413
        return environ | {REFUSED: answer, "wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}

    def execute(self) -> None:
        """Run the application, then close the connection."""
        self.set_close_on_finish()
        super().execute()


class Gate:
    """A task for a thread: ask the application whether a body may come."""

    def __init__(self, channel: Channel, request: Parser) -> None:
        self.channel = channel
        self.request = request

    def service(self) -> None:
        """Ask, and let the channel read on."""
        refused: Refused | None = None
        try:
            sender = sender_of(WSGITask(self.channel, self.request).get_environment())
            if sender is None:
                refused = Refused()
            else:
                self.request.sender = sender
        except (RateLimited, Unavailable) as error:
            refused = Refused(error)
        except Exception:
            self.channel.logger.exception("cannot ask whether a body may come")
            refused = Refused(500)
        self.channel.answered(self.request, refused)

    def cancel(self) -> None:
        """The server ends."""
