"""Thin views: what a page or an endpoint declares, and what it gets for that.

A view parses, calls one operation or query, and responds. One that declares no permission is denied.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID

from django.db import connection, transaction
from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotAuthenticated
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.errors import Conflict, Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import IdempotencyKey, Tenant
from tenants.parsing import holds_nul, parse_whole
from tenants.web.parameters import declared, refuse_unknown, refuse_unknown_fields
from tenants.web.requests import TenantRequest, is_admitted

T = TypeVar("T")
P = ParamSpec("P")
Answer = TypeVar("Answer", bound=HttpResponseBase)
PageView = Callable[Concatenate[TenantRequest, P], Answer]
MAX_PAGE = 200
LONGEST_CURSOR = 2_000
NOT_A_CURSOR = "This cursor is not valid for this list. Start again without it."


def page(permission: str, *, own_transaction: bool = False) -> Callable[[PageView[P, Answer]], PageView[P, Answer]]:
    """Make a function a tenant page: `view(request: TenantRequest, ...)`.

    With `own_transaction` no transaction surrounds the view; it opens `tenant_scope` itself.
    """
    if permission not in PERMISSIONS:
        raise KeyError(permission)

    def decorate(view: PageView[P, Answer]) -> PageView[P, Answer]:
        @functools.wraps(view)
        def run(request: TenantRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            request.actor.require(permission)
            return view(request, *args, **kwargs)

        run.permission = permission  # type: ignore[attr-defined]
        run.own_transaction = own_transaction  # type: ignore[attr-defined]
        return run

    return decorate


class Negotiation(DefaultContentNegotiation):
    """The Accept header chooses the format of a response; `?format=` is a parameter like any other."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)  # type: ignore[assignment]


class ApiView(APIView):
    """Base of every REST view. `permissions` maps each method to the permission it needs; none = denied.

    Parameters and body fields missing from the method's description are refused; body fields not if the view
    `reads_any_field`. A list that the view returns whole is cut by `?limit=` and `?cursor=` here.

    A POST with an `Idempotency-Key` takes effect once; a repetition gets the first response again, without the fields
    in `shown_once`: a secret is never stored.
    """

    permissions: ClassVar[dict[str, str]] = {}
    content_negotiation_class = Negotiation
    shown_once: ClassVar[frozenset[str]] = frozenset()
    own_transaction: ClassVar[bool | frozenset[str]] = False
    large_body: ClassVar[bool] = False
    reads_any_field: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "post" in cls.__dict__:
            cls.post = idempotent(cls.__dict__["post"])  # type: ignore[attr-defined]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check permission and parameters."""
        super().initial(request, *args, **kwargs)
        self.pages_itself = False
        if request.method != "OPTIONS":
            refuse_unknown(self, request)
            if not self.reads_any_field:
                refuse_unknown_fields(self, request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Cut a list that was returned whole, if a page of it is requested."""
        asked = getattr(response, "status_code", 0) == 200 and request.query_params and not self.pages_itself
        if asked and declared(self, request.method or "")[1] and isinstance(getattr(response, "data", None), dict):
            try:
                response.data |= self._page(response.data["results"])
            except Invalid as wrong:
                response = self.handle_exception(wrong)
        return super().finalize_response(request, response, *args, **kwargs)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """Return the available methods to any admitted caller."""
        return Response(status=204)

    @property
    def actor(self) -> Actor:
        """The actor of the request."""
        return cast(Actor, self.request.auth)

    @property
    def tenant(self) -> Tenant:
        """The tenant of the request."""
        request = self.request._request
        if not is_admitted(request):
            raise NotAuthenticated
        return request.tenant

    def body(self) -> dict[str, Any]:
        """Return the JSON object that was sent; raise `Invalid` for anything else."""
        data = self.request.data
        if not isinstance(data, dict):
            raise Invalid("Send a JSON object.")
        return dict(data)

    def page_size(self) -> int:
        """Return `?limit=`, 1 to 200, default 50."""
        self.pages_itself = True
        text = self.request.query_params.get("limit", "50")
        return parse_whole(text, "limit", f"Use a whole number from 1 to {MAX_PAGE}.", least=1, most=MAX_PAGE)

    def cursor(self, length: int) -> tuple[str, ...] | None:
        """Return the `length` keys of `?cursor=`, or None on the first page."""
        self.pages_itself = True
        text = self.request.query_params.get("cursor")
        return decode_cursor(text, length) if text else None

    def paginated(
        self,
        rows: Sequence[T],
        show: Callable[[T], Any],
        key: Callable[[T], Sequence[Any]],
    ) -> Response:
        """Return a page. `rows` holds up to `page_size() + 1` rows; the extra one shows that there are more."""
        size = self.page_size()
        following = self._following(encode_cursor(*key(rows[size - 1]))) if len(rows) > size else None
        return Response({"results": [show(row) for row in rows[:size]], "next": following})

    def _page(self, rows: list[Any]) -> dict[str, Any]:
        keys = self.cursor(1)
        start = parse_whole(keys[0], "cursor", NOT_A_CURSOR) if keys else 0
        end = start + self.page_size() if "limit" in self.request.query_params else len(rows)
        following = self._following(encode_cursor(end)) if end < len(rows) else None
        return {"results": rows[start:end], "next": following}

    def _following(self, cursor: str) -> str:
        query = self.request.query_params.copy()
        query["cursor"] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")


def encode_cursor(*keys: Any) -> str:
    """Return an opaque text of the sort keys of a page's last row."""
    return base64.urlsafe_b64encode(json.dumps([str(key) for key in keys]).encode()).decode().rstrip("=")


def decode_cursor(text: str, length: int) -> tuple[str, ...]:
    """Return the keys of a cursor; raise `Invalid` if it is not one of ours."""
    try:
        keys = (
            json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if len(text) < LONGEST_CURSOR else None
        )
    except (ValueError, RecursionError):
        keys = None
    if (
        not isinstance(keys, list)
        or len(keys) != length
        or not all(isinstance(key, str) for key in keys)
        or holds_nul(keys)
    ):
        raise Invalid(fields={"cursor": [NOT_A_CURSOR]})
    return tuple(keys)


def idempotent(post: Callable[..., Response]) -> Callable[..., Response]:
    """Return the first response to a repeated POST; the key commits with the effect or not at all."""

    @functools.wraps(post)
    def run(self: ApiView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return post(self, request, *args, **kwargs)
        if not 1 <= len(key) <= 200:
            raise Invalid("Idempotency-Key: use 1 to 200 characters.")
        actor = self.actor
        digest = _request_hash(request)
        if not connection.in_atomic_block:
            return _answer_uploaded(self, post, actor, key, digest, args, kwargs)
        with transaction.atomic():
            stored = _first_answer(actor, key, digest)
            if stored is not None:
                return stored
            response = post(self, request, *args, **kwargs)
            _keep_answer(actor, key, response, self.shown_once)
            return response

    return run


def _answer_uploaded(
    view: ApiView,
    post: Any,
    actor: Actor,
    key: str,
    digest: bytes,
    args: Any,
    kwargs: Any,
) -> Response:
    """Return the first response for endpoints that open their own transactions: their effect is idempotent by content."""
    with tenant_scope(actor.tenant_id):
        row = IdempotencyKey.objects.filter(actor_id=_identity(actor), key=key, status__isnull=False).first()
        if row is not None:
            return _replay(row, digest)
    response: Response = post(view, view.request, *args, **kwargs)
    with tenant_scope(actor.tenant_id):
        if _first_answer(actor, key, digest) is None:
            _keep_answer(actor, key, response, view.shown_once)
    return response


def _first_answer(actor: Actor, key: str, digest: bytes) -> Response | None:
    """Claim a key (waiting for a concurrent duplicate to commit) or return the response it already has."""
    fresh = IdempotencyKey(tenant_id=actor.tenant_id, actor_id=_identity(actor), key=key, request_hash=digest)
    IdempotencyKey.objects.bulk_create([fresh], ignore_conflicts=True)
    row = IdempotencyKey.objects.select_for_update(no_key=True).get(actor_id=_identity(actor), key=key)
    return None if row.id == fresh.id else _replay(row, digest)


def _identity(actor: Actor) -> UUID:
    # The system sends no requests; a person and a key always have an id.
    return cast(UUID, actor.id)


def _replay(row: IdempotencyKey, digest: bytes) -> Response:
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


def _keep_answer(actor: Actor, key: str, response: Response, shown_once: frozenset[str]) -> None:
    body = json.loads(json.dumps(response.data, cls=JSONEncoder))
    if shown_once:
        body = {name: None if name in shown_once else value for name, value in body.items()}
    IdempotencyKey.objects.filter(actor_id=_identity(actor), key=key).update(status=response.status_code, body=body)


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
