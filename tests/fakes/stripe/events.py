"""Events, and their webhooks: signed, repeated until accepted, and on request doubled, shuffled, delayed or forged."""

from __future__ import annotations

import copy
import hashlib
import hmac
import http.client
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from stripe import api_version

from tests.fakes.stripe.store import Object, Store

RETRY_S = (60, 300, 1800, 7200, 18000, 36000, 36000, 36000, 36000, 36000)
Send = Callable[[str, bytes, str], int]


@dataclass(frozen=True)
class Endpoint:
    """Where events go, and the secret that signs them."""

    url: str
    secret: str


@dataclass
class _Delivery:
    endpoint: Endpoint
    event: Object
    due: int
    tries: int = 0


@dataclass
class Events:
    """Events as they happen. `deliver` sends what is due.

    `doubled` and `forged` are probabilities, `shuffled` mixes what is due, `delay_s` puts each off by up to so long.
    `account` is on each event, as on one of a connected account.
    """

    store: Store
    endpoints: list[Endpoint] = field(default_factory=list)
    account: str = ""
    version: str = api_version
    doubled: float = 0.0
    forged: float = 0.0
    shuffled: bool = False
    delay_s: int = 0
    answers: list[tuple[str, int]] = field(default_factory=list)
    _pending: list[_Delivery] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(0))
    _stop: threading.Event = field(default_factory=threading.Event)

    def add(self, kind: str, one: Object) -> Object:
        """Record an event about an object as it is."""
        event: dict[str, Any] = {
            "id": self.store.new_id("event"),
            "object": "event",
            "api_version": self.version,
            "created": self.store.clock.now(),
            "data": {"object": copy.deepcopy(one)},
            "livemode": self.store.livemode,
            "pending_webhooks": len(self.endpoints),
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
            **({"account": self.account} if self.account else {}),
        }
        self.store.add(event)
        for endpoint in self.endpoints:
            for _ in range(2 if self._random.random() < self.doubled else 1):
                delay = self._random.randint(0, self.delay_s)
                self._pending.append(_Delivery(endpoint, event, self.store.clock.now() + delay))
        return event

    def deliver(self, send: Send | None = None) -> int:
        """Send what is due; return how many were accepted. `send` takes URL, body and signature and returns a status."""
        send, now = send or post, self.store.clock.now()
        with self.store.lock:
            due = [one for one in self._pending if one.due <= now]
            self._pending = [one for one in self._pending if one.due > now]
        if self.shuffled:
            self._random.shuffle(due)
        accepted = 0
        for one in due:
            if self._random.random() < self.forged:
                self._deliver(send, one, forged=True)
            if self._deliver(send, one):
                accepted += 1
            elif one.tries < len(RETRY_S):
                one.due, one.tries = now + RETRY_S[one.tries], one.tries + 1
                self._pending.append(one)
        return accepted

    @property
    def pending(self) -> int:
        """Return how many deliveries are left."""
        return len(self._pending)

    def start(self) -> None:
        """Deliver in the background until `stop`."""

        def work() -> None:
            while not self._stop.wait(0.05):
                self.deliver()

        threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        """End the background deliveries."""
        self._stop.set()

    def _deliver(self, send: Send, one: _Delivery, *, forged: bool = False) -> bool:
        event = one.event
        if forged:
            event = copy.deepcopy(event)
            event["id"] = self.store.new_id("event")
        body = json.dumps(event, indent=2).encode()
        secret = "whsec_of_somebody_else" if forged else one.endpoint.secret
        status = send(one.endpoint.url, body, signature(body, secret, self.store.clock.now()))
        self.answers.append(("forged" if forged else event["type"], status))
        return 200 <= status < 300


def signature(body: bytes, secret: str, at: int | datetime) -> str:
    """Return the Stripe-Signature header of a body signed at a time."""
    seconds = int(at.timestamp()) if isinstance(at, datetime) else at
    mac = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    return f"t={seconds},v1={mac.hexdigest()}"


def post(url: str, body: bytes, header: str) -> int:
    """Send a webhook; return the status, 0 if nobody answers."""
    to = urlsplit(url)
    connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=20)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": header,
        "User-Agent": "Stripe/1.0",
    }
    try:
        connection.request("POST", to.path, body, headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
