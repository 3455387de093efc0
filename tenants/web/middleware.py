"""Context of every request: an id, one tenant, one actor, one transaction that sees only that tenant."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import is_valid_path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from tenants.access.actor import Actor
from tenants.access.reader import read_as, reading_as
from tenants.errors import ExchequerError
from tenants.identity import audited_access, authentication, known_devices, looks, second_factor, sessions
from tenants.identity.providers import required
from tenants.models import Tenant
from tenants.parsing import NUL
from tenants.web import problems, rate_limits
from tenants.web.error_pages import HEADINGS, REFUSED, explained, log_in_url, page_behind, without_database
from tenants.web.requests import TenantRequest, admit, is_admitted, request_id_for

GetResponse = Callable[[HttpRequest], HttpResponse]
TENANT_HEADER = "X-Exchequer-Tenant"
TENANT_PATH = re.compile(r"/t/([-\w]+)/")
#: Redirect target of a script whose session has ended.
LOG_IN_HEADER = "X-Exchequer-Log-In"


class RequestContextMiddleware:
    """Gives every request an id shared by its logs, audit entries and errors.

    Returns 503 if the database is unreachable.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Bind the id, respond, and add the id to the response."""
        request_id = request_id_for(request.headers.get("X-Request-Id", ""))
        request.request_id = request_id  # type: ignore[attr-defined]
        refused_by_server = 400 if unreadable(request) else request.META.get(REFUSED)
        if refused_by_server:
            response = without_database(request, refused_by_server)
            response["X-Request-Id"] = request_id
            return response
        add_slash(request)
        # A thread serves one request after the other: an earlier one must not appear in the logs of the next.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            response = self.get_response(request)
        finally:
            structlog.contextvars.clear_contextvars()
        response["X-Request-Id"] = request_id
        # What a page or an answer holds is one person's: neither a proxy nor the next user of a browser gets it.
        response.headers.setdefault("Cache-Control", "private, no-store")
        known_devices.mark(request, response)
        if seconds := getattr(request, "held_up_s", 0):
            # People read the form's message; programs read the status.
            response.status_code, response["Retry-After"] = 429, str(seconds)
        return response


def add_slash(request: HttpRequest) -> None:
    """Treat a write whose path lacks the last slash as if it had it: clients turn a redirected POST into a GET."""
    path = request.path_info
    if request.method in ("GET", "HEAD") or path.endswith("/") or is_valid_path(path):
        return
    if is_valid_path(f"{path}/"):
        request.path_info, request.path = f"{path}/", f"{request.path}/"


def unreadable(request: HttpRequest) -> bool:
    """Return whether the URL or a header contains a NUL, which none of our names, keys or ids does."""
    headers = (str(value) for name, value in request.META.items() if name.startswith("HTTP_"))
    return (
        NUL in request.path_info
        or "%00" in request.META.get("QUERY_STRING", "")
        or any(NUL in value for value in headers)
    )


class TenantMiddleware:
    """Finds the tenant and the actor before a view runs, and runs the view in that tenant's scope.

    The path decides on tenant pages, the key or the session on the API. A tenant to which one does not belong is the
    same 404 as a missing one. A view marked `own_transaction` opens its own scopes.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, without reader and in UTC; the work is done in `process_view`."""
        with reading_as(None), timezone.override(None):
            response = explained(request, self.get_response(request))
        problems.note_refusal(request)
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        """Open the scope and run the view, or leave it to Django if no tenant is involved."""
        by_path = request.path_info.startswith("/t/")
        try:
            if request.path_info.startswith("/accounts/"):
                required.refuse_account(request)
            if getattr(view, "for_strangers", False) or not (by_path or request.path_info.startswith("/api/v1/")):
                return None
            door = (
                self.entering_by_path(request, kwargs.pop("tenant"))
                if by_path
                else self.entering_api(request, alone=own_transaction(view, request))
            )
            with door as entered:
                response, is_first = None, False
                if (
                    entered is not None
                    and entered.actor.kind == "user"
                    and second_factor.is_missing(request, entered.tenant)
                ):
                    if not by_path:
                        raise second_factor.SecondFactorMissing
                    return redirect(second_factor.where_to_prove(request))
                if entered is not None and required.is_missing(request, entered.actor, entered.tenant):
                    if not by_path:
                        raise required.ProviderRequired
                    return by_provider_first(request, entered)
                if entered is not None and entered.actor.kind == "user":
                    is_first = sessions.is_first_entry(request, entered.tenant.id)
                    if is_first:
                        audited_access.log_in(actor=entered.actor)
                if entered is not None and entered.actor.kind == "operator" and own_transaction(view, request):
                    raise looks.OnlyReads  # it would leave the transaction that only reads
                if entered is not None and not own_transaction(view, request):
                    response = run(view, entered, args, kwargs)
            if entered is None:
                return log_in_first(request) if by_path else None
            if is_first:  # only now: what the view raises takes the entry back
                sessions.note_entry(request, entered.tenant.id)
            authentication.note_use(entered.actor)
            return response
        except (ExchequerError, IntegrityError, OperationalError, InterfaceError) as error:
            response = self.process_exception(request, error)
            if response is None:
                raise
            return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Respond to an expected error of a page; its writes were rolled back with the scope."""
        return answer_to(request, error)

    @classmethod
    @contextmanager
    def entering_by_path(cls, request: HttpRequest, slug: str) -> Iterator[TenantRequest | None]:
        """Admit the session's person to the tenant in the path, or an operator who looks inside; yields None without a session.

        A tenant that the person does not belong to is a 404.
        """
        with authentication.entering_by_session(request, slug) as known:
            if known is not None:
                entered = cls.accept(request, *known)
                timezone.activate(entered.tenant.timezone)  # for pages: the API uses UTC
                if request.session.get(sessions.TENANT) != slug:
                    request.session[sessions.TENANT] = slug
                yield entered
                return
        if request.user.is_authenticated:
            raise Http404
        if not looks.is_looking(request):
            yield None
            return
        with looks.entering(request, slug) as (actor, tenant):
            timezone.activate(tenant.timezone)
            yield cls.accept(request, actor, tenant)

    @classmethod
    @contextmanager
    def entering_api(cls, request: HttpRequest, *, alone: bool = False) -> Iterator[TenantRequest | None]:
        """Admit a bearer key, else the session's person to their tenant; yields None otherwise.

        `alone`: the view opens its own scopes, and no scope is open here for a key.
        """
        key = authentication.bearer(request)
        many = rate_limits.OF_EVENTS if request.path_info.startswith("/api/v1/events") else 1
        door: AbstractContextManager[authentication.Entered | None] = nullcontext()
        if key is not None:
            name = f"{key[: authentication.LONGEST_KEY]} {many}"
            rate_limits.take(request, "key", name, times=rate_limits.PER_KEY * many)
            door = authentication.entering_by_key(request, key, alone=alone)
        elif request.session.session_key:
            door = authentication.entering_by_session(request, request.headers.get(TENANT_HEADER, ""))
        with door as known:
            if known is None:
                yield None
                return
            actor, tenant = known
            rate_limits.take(request, "tenant", f"{actor.tenant_id} {many}", times=rate_limits.PER_TENANT * many)
            yield cls.accept(request, actor, tenant)

    @staticmethod
    def accept(request: HttpRequest, actor: Actor, tenant: Tenant) -> TenantRequest:
        """Put the actor and the tenant on the request, and the tenant into the logs."""
        read_as(actor)
        structlog.contextvars.bind_contextvars(tenant=str(actor.tenant_id))
        return admit(request, actor, tenant)


def enter_by_address(request: HttpRequest) -> None:
    """Let the session's person in to the tenant of an address that no view answers: the error page then has its frame.

    The console has no tenants' pages.
    """
    named = TENANT_PATH.match(request.path_info)
    if settings.CONSOLE or named is None or not hasattr(request, "user") or is_admitted(request):
        return
    with suppress(ExchequerError, Http404), TenantMiddleware.entering_by_path(request, named[1]):
        pass


def run(view: Any, request: TenantRequest, args: Any, kwargs: Any) -> HttpResponseBase:
    """Return the view's response, rendered while the scope is open."""
    response = view(request, *args, **kwargs)
    if hasattr(response, "render") and not response.is_rendered:
        response = response.render()
    return response  # type: ignore[no-any-return]


def own_transaction(view: Any, request: HttpRequest) -> bool:
    """Return whether a view opens its own scopes for this method (for example because it uses S3)."""
    declared = getattr(
        getattr(view, "cls", None) or getattr(view, "view_class", None) or view,
        "own_transaction",
        False,
    )
    method = "GET" if request.method == "HEAD" else request.method
    return declared if isinstance(declared, bool) else method in declared


def by_provider_first(request: HttpRequest, entered: TenantRequest) -> HttpResponse:
    """Send a person to the identity provider that the tenant requires; an owner may show a second factor instead."""
    if required.is_owner(entered.actor):
        return redirect(second_factor.where_to_prove(request))
    return redirect(
        f"{reverse('provider-log-in', args=[entered.tenant.slug])}?{urlencode({'next': page_behind(request)})}"
    )


def log_in_first(request: HttpRequest) -> HttpResponse:
    """Redirect a browser to the login page and from there back to its page; for a poll or a script return the URL."""
    fragment = bool(request.headers.get("HX-Request"))
    # Only an open page sends these; a browser that asks for a page has its old cookie, or was never logged in.
    ended = fragment or request.method not in ("GET", "HEAD") or settings.SESSION_COOKIE_NAME in request.COOKIES
    target = log_in_url(page_behind(request), ended=ended)
    if fragment:
        return HttpResponse(status=401, headers={"HX-Redirect": target})
    if (
        request.content_type == "application/json"
    ):  # a script's own call, which would mistake the login page for its response
        return HttpResponse(status=401, headers={LOG_IN_HEADER: target})
    return redirect(target)


def answer_to(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """Return the response to an expected error; None for any other."""
    if (known := problems.expected(error)) is not None:
        return refused(request, known)
    if isinstance(error, OperationalError | InterfaceError):
        return database_unavailable(request, error)
    return None


def refused(request: HttpRequest, error: ExchequerError) -> HttpResponse:
    """Return a domain error: problem+json on the API, else the error page with its sentence."""
    problems.remember_refusal(request, error)
    body, headers = problems.from_error(error, request), problems.retry_after(error)
    if request.path_info.startswith("/api/"):
        return JsonResponse(body, status=error.status, content_type=problems.CONTENT_TYPE, headers=headers)
    page = render_to_string("error.html", {**body, "heading": HEADINGS.get(error.status, "")}, request)
    return HttpResponse(page, status=error.status, headers=headers)


def database_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return 503 while PostgreSQL is unreachable: nothing was changed, the client may retry."""
    structlog.get_logger(__name__).warning("database.away", error=str(error))
    return without_database(request, 503)
