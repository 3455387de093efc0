"""Who may send a large body: checked by the web server before it reads one.

A server buffers a body before any view sees it, so a stranger could fill the disk. Views that accept files are marked
by `large_body`; everywhere else a body has at most SMALL bytes.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib.auth import get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.wsgi import WSGIRequest
from django.db import Error, close_old_connections
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from tenants.access.reader import reading_as
from tenants.errors import ExchequerError, RateLimited, Unavailable
from tenants.web.middleware import TenantMiddleware
from tenants.web.requests import TenantRequest

#: Django's limit for a form or JSON, and the headers of a form around it.
SMALL = 2 * 1024 * 1024 + 64 * 1024


def large_body(view: Any) -> Any:
    """Mark a view, a function or a class, as accepting files."""
    view.large_body = True
    return view


def taken_at(method: str, path: str) -> bool:
    """Return whether a large body may be sent there at all."""
    return method in ("POST", "PUT", "PATCH") and getattr(_view(path), "large_body", False)


def sender_of(environ: dict[str, Any]) -> str | None:
    """Return the tenant whose key or session is accepted by a view that takes files; None if none is.

    Reads headers only. Raises RateLimited and Unavailable: the view, called later and without the body, might not raise
    them again. Neither the reader nor the time zone stays on the thread, which serves other requests next.
    """
    close_old_connections()
    try:
        with reading_as(None), timezone.override(None):
            return _let_in(environ)
    except (RateLimited, Unavailable):
        raise
    except Error as error:
        raise Unavailable from error
    except (Http404, ExchequerError):
        return None  # the view itself reports it, without the body
    finally:
        structlog.contextvars.clear_contextvars()
        close_old_connections()


def entered(request: HttpRequest) -> TenantRequest | None:
    """Return a request as its view would see it; None for an unauthenticated one."""
    slug = _match(request.path_info).kwargs.get("tenant")
    door = TenantMiddleware.entering_by_path(request, slug) if slug else TenantMiddleware.entering_api(request)
    with door as inside:
        return inside


def _let_in(environ: dict[str, Any]) -> str | None:
    request = WSGIRequest(environ)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    request.user = SimpleLazyObject(lambda: get_user(request))  # type: ignore[assignment]
    inside = entered(request)
    view = _view(request.path_info)
    permission = getattr(view, "permission", None) or getattr(view, "permissions", {}).get(request.method)
    if inside is None or permission is None or not inside.actor.can_somewhere(permission):
        return None
    return str(inside.tenant_id)


def _match(path: str) -> Any:
    try:
        return resolve(path)
    except Resolver404:
        return resolve(path if path.endswith("/") else f"{path}/")


def _view(path: str) -> Any:
    try:
        view = _match(path).func
    except (Resolver404, UnicodeError):
        return None
    return getattr(view, "cls", view)
