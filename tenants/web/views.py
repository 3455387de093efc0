"""Thin views: what a page or an endpoint declares, and what it gets for that.

A view parses, calls one operation or query, and responds. One that declares no permission is denied.
"""

import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotAuthenticated
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.errors import Invalid
from tenants.models import Tenant
from tenants.parsing import parse_whole
from tenants.web.idempotency import Asker, asker_of, idempotent
from tenants.web.pagination import decode_cursor, encode_cursor, whole
from tenants.web.parameters import declared, refuse_unknown, refuse_unknown_fields
from tenants.web.requests import TenantRequest, is_admitted

T = TypeVar("T")
P = ParamSpec("P")
Answer = TypeVar("Answer", bound=HttpResponseBase)
PageView = Callable[Concatenate[TenantRequest, P], Answer]
MAX_PAGE, MAX_WHOLE = 200, 1_000


def page(permission: str, *, own_transaction: bool = False) -> Callable[[PageView[P, Answer]], PageView[P, Answer]]:
    """Make a function a tenant page: `view(request: TenantRequest, ...)`.

    With `own_transaction` no transaction surrounds the view; it opens `tenant_scope` itself.
    """
    if permission not in PERMISSIONS:
        raise KeyError(permission)

    def decorate(view: PageView[P, Answer]) -> PageView[P, Answer]:
        @functools.wraps(view)
        def run(request: TenantRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            request.actor.require_somewhere(permission)
            return view(request, *args, **kwargs)

        run.permission = permission  # type: ignore[attr-defined]
        run.own_transaction = own_transaction  # type: ignore[attr-defined]
        return run

    return decorate


class Negotiation(DefaultContentNegotiation):
    """The Accept header chooses the format of a response; `?format=` is a parameter like any other."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)  # type: ignore[assignment]


class AnyRenderer(JSONRenderer):
    """Renderer that lets problems be JSON even if the client accepts only the type of the file."""

    media_type = "*/*"
    format = "file"


#: What a view that answers with a file declares.
FILE_RENDERERS: list[type[BaseRenderer]] = [JSONRenderer, AnyRenderer]


class DeclaredView(APIView):
    """Base of the REST views of both sides. `permissions` maps each method to the permission it needs; none = denied.

    Parameters and body fields missing from the method's description are refused; body fields not if the view
    `reads_any_field`. A list that the view returns whole is cut by `?limit=` and `?cursor=` here, and to MAX_WHOLE rows.
    """

    permissions: ClassVar[dict[str, str]] = {}
    content_negotiation_class = Negotiation
    large_body: ClassVar[bool] = False
    reads_any_field: ClassVar[bool] = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check permission and parameters."""
        super().initial(request, *args, **kwargs)
        self.pages_itself = False
        if request.method != "OPTIONS":
            refuse_unknown(self, request)
            if not self.reads_any_field:
                refuse_unknown_fields(self, request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Cut a list that was returned whole: to the page that is requested, and to MAX_WHOLE rows."""
        asked = getattr(response, "status_code", 0) == 200 and not self.pages_itself
        if asked and declared(self, request.method or "")[1] and isinstance(getattr(response, "data", None), dict):
            try:
                response.data |= self._page(response.data["results"])
            except Invalid as wrong:
                response = self.handle_exception(wrong)
        return super().finalize_response(request, response, *args, **kwargs)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """Return the available methods to any admitted caller."""
        return Response(status=204)

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

    def after(self, *kinds: Callable[[str], Any]) -> tuple[Any, ...] | None:
        """Return the keys of `?cursor=`, each read by its kind, or None on the first page. Raises `Invalid`."""
        self.pages_itself = True
        text = self.request.query_params.get("cursor")
        return decode_cursor(text, *kinds) if text else None

    def before(self, kind: Callable[[str], T]) -> T | None:
        """Return the one key of `?cursor=`, as `after` does."""
        keys = self.after(kind)
        return keys[0] if keys else None

    def paginated(
        self,
        rows: Sequence[T],
        shape: type[BaseSerializer[Any]],
        key: Callable[[T], Sequence[Any]],
    ) -> Response:
        """Return a page, serialized by `shape`. `rows` holds up to `page_size() + 1` rows; the extra one shows that there are more."""
        size = self.page_size()
        following = self._following(encode_cursor(*key(rows[size - 1]))) if len(rows) > size else None
        return Response({"results": shape(rows[:size], many=True).data, "next": following})

    def whole(self, rows: Sequence[Any], shape: type[BaseSerializer[Any]]) -> Response:
        """Return a list without pages of its own, serialized by `shape`; `finalize_response` cuts it on request."""
        return Response({"results": shape(rows, many=True).data, "next": None})

    def _page(self, rows: list[Any]) -> dict[str, Any]:
        start = self.before(whole) or 0
        end = start + (self.page_size() if "limit" in self.request.query_params else MAX_WHOLE)
        following = self._following(encode_cursor(end)) if end < len(rows) else None
        return {"results": rows[start:end], "next": following}

    def _following(self, cursor: str) -> str:
        query = self.request.query_params.copy()
        query["cursor"] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")


class OnceView(DeclaredView):
    """Base of the REST views of both sides whose POST takes effect once for an `Idempotency-Key`.

    A repetition gets the first response again, without the fields in `shown_once`: a secret is never stored.
    """

    shown_once: ClassVar[frozenset[str]] = frozenset()

    @property
    def asker(self) -> Asker:
        """Whose keys they are."""
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "post" in cls.__dict__:
            cls.post = idempotent(cls.__dict__["post"])  # type: ignore[attr-defined]


class ApiView(OnceView):
    """Base of every REST view of a tenant."""

    own_transaction: ClassVar[bool | frozenset[str]] = False

    @property
    def asker(self) -> Asker:
        """The actor of the request."""
        return asker_of(self.actor)

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
