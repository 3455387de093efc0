"""What an attempt of a delivery is for every webhook, of a tenant or of the operators: what is sent, and what follows from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tenants.models import Delivery, DeliveryState, Receiver, WebhookFormat
from tenants.outbound import client
from tenants.webhooks import catalogue, signing

LIMITS = client.Limits(timeout_s=10, max_bytes=1_000, cut=True)
#: Waits between attempts, in seconds; the last one repeats until the attempts end.
WAITS = (15, 60, 300, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
GIVE_UP_AFTER = timedelta(days=3)
#: A webhook that fails so often in a row is left alone for a growing time.
PATIENCE, LONGEST_PAUSE_S = 3, 1_800
FEWEST_FAILURES = 5
KEPT_ATTEMPTS, SHOWN_CHARACTERS = 30, 500
UNABLE_WAIT = timedelta(seconds=30)
NOTHING_ACCEPTED = "Its address accepted nothing for three days."


@dataclass(frozen=True)
class Parcel:
    """A delivery as it is sent."""

    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Result:
    """What came of an attempt: the status of the answer, or the code of an error; milliseconds; the answer's start."""

    ok: bool
    status: int | None
    error: str
    took_ms: int
    said: str


def pack(delivery: Delivery, webhook: Receiver, url: str, secrets: Sequence[str]) -> Parcel:
    """Return a delivery with its headers; signed by each secret unless its format is not."""
    body = delivery.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Exchequer-Webhooks/1",
        "Exchequer-Event": delivery.type,
        "Exchequer-Delivery": str(delivery.pk),
    }
    if webhook.format != WebhookFormat.SLACK:
        headers[signing.HEADER] = signing.header(body, secrets, int(time.time()))
    return Parcel(url, body, headers)


def sealed_secrets(webhook: Receiver, moment: datetime) -> list[bytes]:
    """Return the secrets in force as they are stored, the newest first."""
    sealed = [webhook.secret]
    if webhook.previous_secret is not None and webhook.previous_until is not None and webhook.previous_until > moment:
        sealed.append(webhook.previous_secret)
    return [bytes(one) for one in sealed]


def send(parcel: Parcel, tenant_id: UUID | None) -> Result:
    """Send a parcel, with no transaction open. Raises FetcherUnavailable: the receiver has seen nothing."""
    began = time.monotonic()
    try:
        answer = client.fetch(
            "POST", parcel.url, headers=parcel.headers, body=parcel.body, limits=LIMITS, tenant_id=tenant_id
        )
    except client.FetcherUnavailable:
        raise
    except client.OutboundError as error:
        return Result(False, None, error.code, _since(began), error.message[:SHOWN_CHARACTERS])
    ok = 200 <= answer.status < 300
    said = answer.body.decode(errors="replace").replace("\0", "\ufffd")[:SHOWN_CHARACTERS]
    return Result(ok, answer.status, "" if ok else "status", _since(began), said)


def note(webhook: Receiver, delivery: Delivery, result: Result, moment: datetime) -> None:
    """Store the result of an attempt in both locked rows, and when the next one follows."""
    delivery.attempts += 1
    delivery.log = [*delivery.log, _entry(delivery.attempts, moment, result)][-KEPT_ATTEMPTS:]
    if result.ok:
        delivery.state, delivery.next_at, delivery.ended_at = DeliveryState.DELIVERED, None, moment
        webhook.failures, webhook.failing_since, webhook.retry_at = 0, None, None
        webhook.last_delivered_at = moment
    else:
        webhook.failures += 1
        webhook.failing_since = webhook.failing_since or moment
        if webhook.failures >= PATIENCE:
            webhook.retry_at = moment + timedelta(seconds=min(5 * 2 ** min(webhook.failures, 20), LONGEST_PAUSE_S))
        wait = WAITS[min(delivery.attempts, len(WAITS)) - 1]
        delivery.next_at = moment + timedelta(seconds=wait)
        over = delivery.next_at - delivery.since > GIVE_UP_AFTER or delivery.type == catalogue.TEST
        if over or not webhook.enabled:
            delivery.state, delivery.next_at, delivery.ended_at = DeliveryState.FAILED, None, moment
    delivery.save(update_fields=["attempts", "log", "state", "next_at", "ended_at"])
    webhook.save(update_fields=["failures", "failing_since", "retry_at", "last_delivered_at"])


def given_up(webhook: Receiver, delivery: Delivery) -> bool:
    """Return whether a delivery to an enabled webhook was given up, other than a test."""
    return delivery.state == DeliveryState.FAILED and delivery.type != catalogue.TEST and webhook.enabled


def dead(webhook: Receiver, delivery: Delivery) -> bool:
    """Return whether a webhook accepted nothing in all the time of a delivery that was given up."""
    silent = webhook.last_delivered_at is None or webhook.last_delivered_at < delivery.since
    return silent and webhook.failures >= FEWEST_FAILURES


def _entry(number: int, moment: datetime, result: Result) -> dict[str, Any]:
    return {
        "number": number,
        "at": moment.isoformat(),
        "status": result.status,
        "error": result.error,
        "took_ms": result.took_ms,
        "said": result.said,
    }


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1_000)
