"""What the platform hands a node for work that is live there: data keys, and access to the stored files of that work.

A node has no key and no credential of a store. It shows its own secret and names the work; the platform answers while that
work lives on that node. What it answers stays in memory, and is dropped with the work.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings

from tenants.errors import Unavailable
from tenants.outbound import straight

ATTEMPT, SLOT = "attempt", "slot"
WAIT_S = 15
MOST_BYTES = 2**20


class NotHandedOut(Unavailable):
    """The platform hands this node no key and no file for this work at the moment."""

    code = "not_handed_out"


class Unknown(NotHandedOut):
    """The platform knows no such key or file of this organisation."""

    code = "not_handed_out_unknown"


@dataclass(frozen=True)
class Work:
    """Live work of one tenant on this node: an attempt and its token, or a serving slot. `keys` are its data keys, by id."""

    tenant_id: UUID
    kind: str
    id: UUID
    token: int = 0
    keys: dict[UUID | None, tuple[UUID, bytes]] = field(default_factory=dict, repr=False, compare=False)


_open: ContextVar[Work | None] = ContextVar("work", default=None)


def is_node() -> bool:
    """Return whether this process is a node's: one that is handed what it needs."""
    return bool(settings.EXCHEQUER.node_secret)


@contextmanager
def working(work: Work) -> Iterator[None]:
    """Do what follows, in this thread, for this work."""
    before = _open.set(work)
    try:
        yield
    finally:
        _open.reset(before)


def current(tenant_id: UUID) -> Work:
    """Return the work that this thread does for a tenant. Raises NotHandedOut if it does none."""
    work = _open.get()
    if work is None or work.tenant_id != tenant_id:
        raise NotHandedOut
    return work


def ask(work: Work, what: str, **more: Any) -> dict[str, Any]:
    """Return the platform's answer for this work. Raises Unknown, and NotHandedOut, also while the platform is unreachable."""
    env = settings.EXCHEQUER
    sent = {"tenant": str(work.tenant_id), "kind": work.kind, "id": str(work.id), "token": work.token, **more}
    request = urllib.request.Request(  # noqa: S310 (config.node_settings admits what others cannot read)
        straight.url(env.platform_url, f"/node/v1/{what}/"),
        json.dumps(sent).encode(),
        {"Authorization": f"Bearer {env.node_secret}", "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with straight.opener(env.platform_url).open(request, timeout=WAIT_S) as response:
            answer: dict[str, Any] = json.loads(response.read(MOST_BYTES))
            return answer
    except urllib.error.HTTPError as error:
        raise (Unknown if error.code == 404 else NotHandedOut)(_detail(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotHandedOut(f"The platform at {env.platform_url} does not answer ({error}).") from error


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(MOST_BYTES))["detail"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"The platform answered {error.code}."
