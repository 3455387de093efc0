"""Protection against double submission: an API POST with an `Idempotency-Key`, and a form with a key of its own.

The key commits with the effect or not at all. A concurrent duplicate waits for the first to commit.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.db import models, transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from tenants.access.actor import Actor
from tenants.errors import Conflict, Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import IdempotencyKey, OperatorIdempotencyKey

if TYPE_CHECKING:
    from tenants.web.requests import TenantRequest
    from tenants.web.views import ApiView, OnceView

Row = IdempotencyKey | OperatorIdempotencyKey

#: Fields of a form that may change between two clicks: the page asks for a new price by itself.
NOT_ENTERED = frozenset({"csrfmiddlewaretoken", "offer"})


@dataclass(frozen=True)
class Asker:
    """Whose keys they are: a person, a key, or an operator. Two askers may use the same text."""

    table: type[Row]
    named: dict[str, UUID]

    @property
    def rows(self) -> models.QuerySet[Any]:
        """Return the asker's keys."""
        return self.table._default_manager.filter(**self.named)

    def claim(self, key: str, digest: bytes) -> tuple[Row, bool]:
        """Claim a key, waiting for a concurrent duplicate to commit; return its row, and whether it is new."""
        fresh: Any = self.table(**self.named, key=key, request_hash=digest)
        self.table._default_manager.bulk_create([fresh], ignore_conflicts=True)
        row = self.rows.select_for_update(no_key=True).get(key=key)
        return row, row.id == fresh.id

    def keep(self, row: Row, status: int, body: Any) -> None:
        """Keep the response of a claimed key."""
        self.rows.filter(id=row.id).update(status=status, body=body)


def asker_of(actor: Actor) -> Asker:
    """Return whose keys an actor of a tenant uses."""
    # The system sends no requests; a person and a key always have an id. A request that is repeated with the key's
    # successor is the same request.
    return Asker(IdempotencyKey, {"tenant_id": actor.tenant_id, "actor_id": cast(UUID, actor.owner_id)})


def run_once(request: TenantRequest, key: UUID | None, act: Callable[[], str]) -> str:
    """Return the result of `act` (a URL to redirect to); call it only the first time a form's key comes with this input.

    A form that is sent again with other input, such as after a step back, acts again. If `act` raises, the key stays
    unused.
    """
    actor = request.actor
    if key is None or actor.id is None:
        return act()
    entered = {name: values for name, values in request.POST.lists() if name not in NOT_ENTERED}
    digest = hashlib.sha256(json.dumps([request.path, entered], sort_keys=True).encode())
    asker = asker_of(actor)
    row, _ = asker.claim(f"form:{key}:{digest.hexdigest()}", digest.digest())
    if row.body is not None:
        return str(row.body["location"])
    location = act()
    asker.keep(row, 302, {"location": location})
    return location


def idempotent(post: Callable[..., Response]) -> Callable[..., Response]:
    """Return the first response to a repeated POST."""

    @functools.wraps(post)
    def run(self: OnceView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return post(self, request, *args, **kwargs)
        if not 1 <= len(key) <= 200:
            raise Invalid("Idempotency-Key: use 1 to 200 characters.")
        digest = _request_hash(request)
        if _opens_its_own(self):
            return _answer_uploaded(
                cast("ApiView", self), functools.partial(post, self, request, *args, **kwargs), key, digest
            )
        with transaction.atomic():
            asker = self.asker
            row, fresh = asker.claim(key, digest)
            if not fresh:
                return _replay(row, digest)
            response = post(self, request, *args, **kwargs)
            asker.keep(row, response.status_code, _stored(response, self.shown_once))
            return response

    return run


def _opens_its_own(view: OnceView) -> bool:
    """Return whether the POST of a view opens its own transactions."""
    declared = getattr(view, "own_transaction", False)
    return declared if isinstance(declared, bool) else "POST" in declared


def _answer_uploaded(view: ApiView, post: Callable[[], Response], key: str, digest: bytes) -> Response:
    """Return the first response for endpoints that open their own transactions: their effect is idempotent by content."""
    actor, asker = view.actor, view.asker
    with tenant_scope(actor.tenant_id):
        known = asker.rows.filter(key=key, status__isnull=False).first()
        if known is not None:
            return _replay(known, digest)
    response = post()
    with tenant_scope(actor.tenant_id):
        row, fresh = asker.claim(key, digest)
        if not fresh:
            _replay(row, digest)  # refuses another request under the same key
        else:
            asker.keep(row, response.status_code, _stored(response, view.shown_once))
    return response


def _replay(row: Row, digest: bytes) -> Response:
    if bytes(row.request_hash) != digest:
        raise Conflict(
            "This Idempotency-Key was used for another request. Use a new key.",
            key=row.key,
        )
    if row.status is None:
        raise Conflict(
            "The first request with this Idempotency-Key is still in progress. Try again in a moment.",
            key=row.key,
        )
    return Response(row.body, status=row.status, headers={"Idempotent-Replayed": "true"})


def _stored(response: Response, shown_once: frozenset[str]) -> Any:
    """Return the body of a response to store: without secrets that are shown once."""
    body = json.loads(json.dumps(response.data, cls=JSONEncoder))
    return {name: None if name in shown_once else value for name, value in body.items()} if shown_once else body


def _request_hash(request: Request) -> bytes:
    """Return the hash of the request's content: fields and file bytes, not their encoding.

    So multipart boundaries, field order, JSON white space and charset make no difference.
    """
    media = (request.content_type or "").partition(";")[0].strip().lower()
    body: Any = request.data
    if media.startswith("multipart/"):
        parts = cast(Any, request.data).lists()
        body = {name: [_content(value) for value in values] for name, values in parts}
    asked = [request.method or "", request.path.rstrip("/"), media, body]
    try:
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).digest()
    except RecursionError:
        raise Invalid("The request is nested too deeply for an Idempotency-Key.") from None


def _content(value: Any) -> Any:
    """Return a field's text, or the hash of a file, which is rewound afterwards."""
    if not hasattr(value, "chunks"):
        return value
    digest = hashlib.sha256()
    for chunk in value.chunks():
        digest.update(chunk)
    value.seek(0)
    return {"sha256": digest.hexdigest()}
