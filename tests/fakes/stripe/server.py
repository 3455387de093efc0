"""The HTTP side of the stand-in: keys, versions, idempotency, faults, pages, and control by tests."""

from __future__ import annotations

import json
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe

from tests.fakes.stripe import checkout, credit_notes, faults, items, service
from tests.fakes.stripe.errors import Refusal, bad, server_error, unauthorised
from tests.fakes.stripe.events import Endpoint, Events
from tests.fakes.stripe.faults import Faults
from tests.fakes.stripe.forms import decoded
from tests.fakes.stripe.idempotency import Answer, Keys
from tests.fakes.stripe.store import Clock, Store

API_KEY = "sk_test_exchequer"
WEBHOOK_SECRET = "whsec_exchequer"

assert credit_notes and items  # their routes register themselves


class Dropped(Exception):
    """The connection ends without a response."""


class StripeServer(ThreadingHTTPServer):
    """A stand-in for one account. `requests` lists what arrived, as `METHOD /path`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, at: datetime | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.clock = Clock(at)
        self.store = Store(self.clock)
        self.events = Events(self.store)
        self.keys = Keys(self.clock)
        self.faults = Faults()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.service = service.Service(self.store, self.events, self.url)
        self.requests: list[str] = []
        self.crashes: list[str] = []
        self.store.computed |= {
            ("invoice", "payments"): lambda one: self._related("invoice_payment", f"/v1/invoices/{one['id']}/payments", invoice=one["id"]),
            ("charge", "refunds"): lambda one: self._related("refund", f"/v1/charges/{one['id']}/refunds", charge=one["id"]),
        }  # fmt: skip

    @property
    def api_key(self) -> str:
        """Return the key that is accepted."""
        return API_KEY.replace("test", "live") if self.store.livemode else API_KEY

    def add_endpoint(self, url: str, secret: str = WEBHOOK_SECRET) -> None:
        """Send webhooks of all further events to an address."""
        self.events.endpoints.append(Endpoint(url, secret))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong in the stand-in itself; ignore a client that hangs up."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.crashes.append(traceback.format_exc())

    def answer(self, method: str, path: str, form: str, headers: dict[str, str]) -> Answer:
        """Answer an API request. Raises `Dropped`."""
        request_id = f"req_{secrets.token_hex(7)}"
        self.requests.append(f"{method} {path}")
        fault = ""
        try:
            self._authorise(headers)
            fault = self.faults.draw(method, path)
            self._refuse_at_once(fault)
            answer = self._execute(method, path, form, headers.get("idempotency-key", ""), fault, request_id)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body, request_id)
        if fault == faults.DROP:
            raise Dropped
        return answer

    def _execute(self, method: str, path: str, form: str, key: str, fault: str, request_id: str) -> Answer:
        keyed = method == "POST" and bool(key)
        if keyed and (kept := self.keys.begin(key, f"{method} {path} {sorted(parse_qsl(form, True))}")) is not None:
            return kept
        if fault == faults.STALL:
            time.sleep(self.faults.stall_s)
        answer, saved = self._run(method, path, form, fault, request_id)
        if keyed and saved:
            self.keys.keep(key, answer)
        elif keyed:
            self.keys.free(key)
        return answer

    def _run(self, method: str, path: str, form: str, fault: str, request_id: str) -> tuple[Answer, bool]:
        """Return the answer, and whether a key keeps it."""
        try:
            if fault == faults.SAVED_500:
                raise server_error()
            if fault == faults.REFUSED:
                raise bad("The request cannot be executed now.")
            found = service.find(method, path)
            if found is None:
                raise Refusal(
                    404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).", saved=False
                )
            body = service.run(self.service, found, path, decoded(form))
            if fault == faults.APPLIED_500:
                raise server_error()
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body, request_id), refusal.saved
        return Answer(200, body, request_id), True

    def _authorise(self, headers: dict[str, str]) -> None:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            raise unauthorised("You did not provide an API key.")
        if key != self.api_key:
            raise unauthorised(f"Invalid API Key provided: {key[:7]}****{key[-4:]}")
        version = headers.get("stripe-version", stripe.api_version)
        if version != stripe.api_version:
            raise bad(f"Invalid Stripe API version: {version}", saved=False)

    def _refuse_at_once(self, fault: str) -> None:
        if fault == faults.LIMITED:
            raise Refusal(429, "invalid_request_error", "Too many requests.", saved=False, code="rate_limit")
        if fault == faults.LOCKED:
            raise Refusal(409, "idempotency_error", "Key in use.", saved=False, code="idempotency_key_in_use")
        if fault == faults.LOST_500:
            raise server_error()

    def _related(self, kind: str, url: str, **fields: str) -> dict[str, Any]:
        return self.store.page(self.store.all(kind, **fields), {"limit": 100}, url)

    def control(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Do what a test in another process asks for under `/_fake/`."""
        if name == "faults":
            self.faults.seed(given.pop("seed", 0))
            self.faults.next(*given.pop("next", []))
            for setting, value in given.items():
                setattr(self.faults, setting, value)
        elif name == "clock":
            self.clock.advance(timedelta(seconds=given["advance_s"]))
        elif name == "endpoints":
            self.add_endpoint(given["url"], given.get("secret", WEBHOOK_SECRET))
        elif name == "webhooks":
            for setting, value in given.items():
                setattr(self.events, setting, value)
            return {"accepted": self.events.deliver(), "pending": self.events.pending}
        return {"now": self.clock.now(), "faults": dict(self.faults.counts), "requests": len(self.requests)}


class _Handler(BaseHTTPRequestHandler):
    server: StripeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urlsplit(self.path)
        if url.path.startswith("/_fake/"):
            done = self.server.control(url.path.removeprefix("/_fake/"), json.loads(body or "{}"))
            return self._send(200, "application/json", json.dumps(done).encode(), {})
        shown = checkout.page(self.server.service, method, url.path, dict(parse_qsl(body)))
        if shown is not None:
            headers = {"Location": shown.location} if shown.location else {}
            return self._send(shown.status, "text/html; charset=utf-8", shown.html.encode(), headers)
        form = "&".join(part for part in (url.query, body) if part)
        given = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.answer(method, url.path, form, given)
        except Dropped:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        headers = {"Request-Id": answer.request_id, "Stripe-Version": stripe.api_version}
        if key := given.get("idempotency-key"):
            headers |= {"Idempotency-Key": key, "Original-Request": answer.request_id}
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        if answer.status == 429:
            headers["Retry-After"] = str(self.server.faults.retry_after_s)
        return self._send(answer.status, "application/json", json.dumps(answer.body).encode(), headers)

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


@contextmanager
def stripe_server(at: datetime | None = None) -> Iterator[StripeServer]:
    """Serve while the block runs; `at` makes the stand-in's clock stand still there until it is moved."""
    server = StripeServer(at)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.events.stop()
        server.shutdown()
        server.server_close()
        thread.join(5)
        assert not server.crashes, "\n".join(server.crashes)
