"""Dash behind Django: every byte of a Dash page passes Django's middleware first.

A Django view builds a WSGI environment from its request, calls Dash's own WSGI app in the same thread and converts the
response back. Login, tenant, CSRF and content security policy are therefore those of any other page, and a callback
runs in the request's transaction and tenant scope. The app's README lists the rejected alternatives.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dash import Dash
from dash._utils import split_callback_id
from dash.exceptions import DependencyException
from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import mark_safe
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from tenants.web.requests import TenantRequest, is_admitted

PASSED_HEADERS = ("Cache-Control", "ETag", "Location", "Content-Disposition")
FORWARDED_HEADERS = ("Accept", "If-None-Match", "X-CSRFToken")
BUNDLES = "_dash-component-suites/"

_request: ContextVar[HttpRequest] = ContextVar("exchequer_dash_request")


class NoDashRequest(RuntimeError):
    """A Dash callback ran outside a bridged request."""


def current_request() -> TenantRequest:
    """Return the Django request that the running callback serves: the only source of the actor."""
    request = _request.get(None)
    if request is None or not is_admitted(request):
        raise NoDashRequest
    return request


@contextmanager
def _serving(request: HttpRequest) -> Iterator[None]:
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


class BridgedDash(Dash):
    """A Dash app that can only be reached through Django.

    Security settings are fixed here for all pages: no Pages, no async mode, no MCP, no assets folder, bundles served by
    us, no layout sent as `validation_layout`, CSRF by Django's cookie.
    """

    def __init__(self, slug: str, *, title: str, template: str, layout: Any) -> None:
        self.slug = slug
        self.page_template = template
        prefix = f"/dash/{slug}/"
        super().__init__(
            f"dashboards.{slug}",
            title=title,
            requests_pathname_prefix=prefix,
            routes_pathname_prefix=prefix,
            assets_folder="",
            include_assets_files=False,
            pages_folder="",
            use_pages=False,
            use_async=False,
            enable_mcp=False,
            serve_locally=True,
            suppress_callback_exceptions=True,
            csrf_token_name=settings.CSRF_COOKIE_NAME,
            csrf_header_name="X-CSRFToken",
            update_title="",
            add_log_handler=False,
        )
        self.server.secret_key = settings.SECRET_KEY
        self.server.config["PROPAGATE_EXCEPTIONS"] = True
        self.layout = layout

    def register_bundles(self) -> None:
        """Make Dash list its bundles now, so that parallel requests to a fresh process do not race."""
        self.server.test_client().get(f"/dash/{self.slug}/_dash-dependencies")

    def interpolate_index(self, *_: Any, **parts: Any) -> str:
        """Render our own page around Dash's tags, each with the nonce and the tenant's own URL."""
        request = current_request()
        nonce = str(getattr(request, "csp_nonce", ""))
        get_token(request)
        tags = {
            "dash_css": parts["css"],
            "dash_entry": parts["app_entry"],
            "dash_scripts": "".join(
                (
                    self._own_config(parts["config"], request),
                    _with_nonce(parts["scripts"], nonce),
                    _with_nonce(parts["renderer"], nonce),
                )
            ),
        }
        context = {name: mark_safe(markup) for name, markup in tags.items()}  # noqa: S308  Dash's own tags, no user data
        return render_to_string(self.page_template, {**context, "title": self.title}, request=request)

    def _own_config(self, tag: str, request: TenantRequest) -> str:
        """Send callbacks to the tenant's URL; remove what the page does not need."""
        config = json.loads(tag[tag.index(">") + 1 : tag.rindex("<")])
        config["requests_pathname_prefix"] = reverse("dash-page", args=(request.tenant.slug, self.slug))
        config.pop("python_version", None)
        body = json.dumps(config).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        return f'<script id="_dash-config" type="application/json">{body}</script>'


def _with_nonce(markup: str, nonce: str) -> str:
    return re.sub(r"<script\b", f'<script nonce="{nonce}"', markup)


def _call(app: BridgedDash, body: bytes) -> bytes:
    """Return a call of one of the page's callbacks in Dash's own format, with only values from the body.

    Raises `BadRequest` for an unknown callback, or values other than texts and whole numbers.
    """
    try:
        asked = json.loads(body)
        known = app.callback_map[asked["output"]]
        changed = [str(name) for name in asked["changedPropIds"]]
        sent = {kind: [one.get("value") for one in asked.get(kind, [])] for kind in ("inputs", "state")}
        call = {
            "output": asked["output"],
            "outputs": split_callback_id(asked["output"]),  # type: ignore[no-untyped-call]
            "changedPropIds": changed,
            **{
                kind: [{**slot, "value": value} for slot, value in zip(known[kind], values, strict=True)]
                for kind, values in sent.items()
            },
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequest("no call of a callback of this page") from error
    if not all(isinstance(value, str | int | None) for values in sent.values() for value in values):
        raise BadRequest("a value of a type that no control sends")
    return json.dumps(call).encode()


def forward(app: BridgedDash, request: HttpRequest, path: str) -> HttpResponse:
    """Forward `request` to Dash for `path` below its prefix.

    Raises `Http404` for an unknown bundle, `BadRequest` for a body that calls none of its callbacks.
    """
    builder = EnvironBuilder(
        path=f"/dash/{app.slug}/{path}",
        method=request.method or "GET",
        query_string=request.META.get("QUERY_STRING", ""),
        headers=[(name, request.headers[name]) for name in FORWARDED_HEADERS if name in request.headers],
        content_type=request.content_type or None,
        data=_call(app, request.body) if request.method == "POST" else None,
        base_url=f"{request.scheme}://{request.get_host()}/",
    )
    try:
        with _serving(request):
            answer = Response.from_app(app.server.wsgi_app, builder.get_environ(), buffered=True)
    except DependencyException as unknown:
        raise Http404("No such bundle.") from unknown
    finally:
        builder.close()
    response = HttpResponse(answer.get_data(), status=answer.status_code, content_type=answer.content_type)
    for name in PASSED_HEADERS:
        if name in answer.headers:
            response[name] = answer.headers[name]
    return response


def bundle(app: BridgedDash, request: HttpRequest, path: str) -> HttpResponse:
    """Serve one file of Dash's open-source bundles: no tenant, no session, no data."""
    return forward(app, request, BUNDLES + path)


Register = Callable[[BridgedDash], None]


def make(slug: str, *, title: str, template: str, layout: Any, callbacks: Register) -> BridgedDash:
    """Build a bridged app: layout without tenant data, callbacks registered, bundles listed."""
    app = BridgedDash(slug, title=title, template=template, layout=layout)
    callbacks(app)
    app.register_bundles()
    return app
