"""Log-in by a tenant's identity provider: pages for people who are not logged in yet.

Each is marked `for_strangers`: no session is needed, and what it shows says nothing about accounts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from allauth.core.internal import ratelimit
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from tenants.approvals import join_requests
from tenants.audit import log_ins
from tenants.errors import PermissionDenied, RateLimited
from tenants.identity import audited_access, authentication, sessions
from tenants.identity.providers import (
    assertions,
    attempts,
    configuration,
    group_claims,
    oidc,
    outcomes,
    people,
    queries,
    required,
    saml,
)
from tenants.identity.providers.oidc import Identity
from tenants.isolation.scoping import tenant_scope
from tenants.models import OIDC, SAML, IdentityProvider, LogInAttempt, Tenant
from tenants.web.navigation import home_url

COOKIE_S = 600
LONGEST_NAMED = 254
View = Callable[..., HttpResponse]


class ProviderRefused(PermissionDenied):
    """The identity provider did not log you in."""

    code = "provider_refused"


def for_strangers(view: View) -> View:
    """Mark a tenant's page as open to people who are not logged in; it opens its own scopes."""
    view.for_strangers = True  # type: ignore[attr-defined]
    return view


def notes_refusals(view: View) -> View:
    """Mark a page that ends a log-in: a refusal is noted for the operator log, and a test leads to what failed."""

    @functools.wraps(view)
    def run(request: HttpRequest, tenant: str) -> HttpResponse:
        try:
            return view(request, tenant)
        except outcomes.TestFailed as failed:
            return redirect(f"{reverse('provider', args=[tenant])}?test={failed.attempt_id}")
        except PermissionDenied as refused:
            _note_refused(request, _with_provider(tenant), refused)
            raise

    return run


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def find_provider(request: HttpRequest) -> HttpResponse:
    """Ask for an address or an organisation's short name, and send the person on; only the domain decides the answer."""
    if request.method != "POST":
        return render(request, "tenants/providers/find.html", {"next": request.GET.get("next", "")})
    _count(request)
    named, next_page = request.POST.get("organisation", "").strip()[:LONGEST_NAMED], request.POST.get("next", "")
    if "\x00" in named:
        named = ""
    slug = required.slug_for(named) if "@" in named else named.lower()
    if not slug or (required.tenant_with_provider(slug) is None):
        return render(
            request, "tenants/providers/find.html", {"named": named, "next": next_page, "unknown": True}, status=422
        )
    url = f"{reverse('provider-log-in', args=[slug])}?{urlencode({'next': next_page})}"
    return render(request, "tenants/providers/go.html", {"url": url})


@for_strangers
@never_cache
@require_GET
def log_in(request: HttpRequest, tenant: str) -> HttpResponse:
    """Send the browser to the provider."""
    _count(request)
    organisation = _with_provider(tenant)
    browser = request.COOKIES.get(cookie_name(), "") or attempts.fresh_secret()
    with tenant_scope(organisation.id):
        provider = _provider()
        begun = attempts.begin(provider, browser=browser, next_page=_next(request, organisation))
    return send_to_provider(organisation, provider, begun, browser)


def send_to_provider(
    organisation: Tenant, provider: IdentityProvider, begun: attempts.Begun, browser: str
) -> HttpResponse:
    """Redirect to the provider, and leave the browser the cookie that its log-in is bound to. Raises ProviderUnreachable."""
    ours = queries.addresses(organisation.slug)
    if provider.kind == OIDC:
        url = oidc.authorization_url(
            provider, redirect_uri=ours.redirect, state=begun.state, nonce=begun.nonce, verifier=begun.verifier
        )
    else:
        url = saml.request_url(provider, ours, request_id=begun.request_id, state=begun.state)
    response = redirect(url)
    response.set_cookie(
        cookie_name(), browser, max_age=COOKIE_S, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )
    return response


@for_strangers
@never_cache
@require_GET
@notes_refusals
def callback(request: HttpRequest, tenant: str) -> HttpResponse:
    """Take the code that an OpenID provider sent, and log the person in."""
    organisation = _with_provider(tenant)
    given = request.GET
    with tenant_scope(organisation.id):
        attempt = attempts.take(given.get("state", ""), browser=request.COOKIES.get(cookie_name(), ""))
        provider = attempt.provider
        secret = configuration.client_secret(provider)
    with outcomes.failing_as_test(attempt):
        if provider.kind != OIDC or given.get("iss", provider.issuer) != provider.issuer:
            raise attempts.AttemptInvalid
        if "error" in given or not given.get("code"):
            why = ValueError(f"{given.get('error', 'no code')}: {given.get('error_description', '')}")
            raise ProviderRefused(
                f"{provider.name} did not log you in. Begin again, or ask its administrator."
            ) from why
        exchange = oidc.Exchange(
            code=given["code"],
            verifier=attempt.verifier,
            nonce=attempt.nonce,
            redirect_uri=queries.addresses(organisation.slug).redirect,
            secret=secret,
        )
        named = oidc.identity(provider, exchange)
    return _finish(request, organisation, attempt, named)


@for_strangers
@csrf_exempt
@never_cache
@require_POST
@notes_refusals
def acs(request: HttpRequest, tenant: str) -> HttpResponse:
    """Take the answer of a SAML provider, which another site's page posts: without our cookies.

    It is kept until the browser that began fetches it (`finish`): an answer posted in another browser logs nobody in.
    """
    organisation = _with_provider(tenant)
    state = request.POST.get("RelayState", "")
    ours = queries.addresses(organisation.slug)
    with tenant_scope(organisation.id):
        attempt = attempts.answer(state)
        if attempt.provider.kind != SAML:
            raise attempts.AttemptInvalid
    with outcomes.failing_as_test(attempt), tenant_scope(organisation.id):
        found = assertions.checked(
            attempt.provider, ours, answer=request.POST.get("SAMLResponse", ""), request_id=f"_{attempt.nonce}"
        )
        saml.use_once(found)
        attempts.keep(attempt, outcomes.stored(found.identity))
    return redirect(f"{reverse('provider-finish', args=[organisation.slug])}?{urlencode({'state': state})}")


@for_strangers
@never_cache
@require_GET
@notes_refusals
def finish(request: HttpRequest, tenant: str) -> HttpResponse:
    """Log in the person whom a SAML provider named, in the browser that began."""
    organisation = _with_provider(tenant)
    with tenant_scope(organisation.id):
        attempt = attempts.take(request.GET.get("state", ""), browser=request.COOKIES.get(cookie_name(), ""))
    if attempt.outcome is None:
        raise attempts.AttemptInvalid
    return _finish(request, organisation, attempt, outcomes.identity(attempt.outcome))


@for_strangers
@require_safe
def metadata(request: HttpRequest, tenant: str) -> HttpResponse:
    """Show our SAML metadata."""
    organisation = _with_provider(tenant)
    return HttpResponse(
        saml.metadata(queries.addresses(organisation.slug)), content_type="application/samlmetadata+xml"
    )


@for_strangers
@never_cache
@require_POST
def ask_to_join(request: HttpRequest, tenant: str) -> HttpResponse:
    """Ask to become a member, as the person whom the provider has just named in this browser."""
    organisation = _with_provider(tenant)
    with tenant_scope(organisation.id):
        attempt = attempts.named(request.POST.get("state", ""), browser=request.COOKIES.get(cookie_name(), ""))
        identity = outcomes.identity(attempt.outcome or {})
        join_requests.request(
            provider=attempt.provider,
            identity=identity,
            reason=request.POST.get("reason", ""),
            origin=authentication.origin_of(request),
        )
    return render(request, "tenants/providers/asked.html", {"organisation": organisation})


def cookie_name() -> str:
    """Return the name of the cookie that binds a log-in to its browser."""
    return "__Host-exchequer-log-in" if settings.SESSION_COOKIE_SECURE else "exchequer-log-in"


def _finish(request: HttpRequest, organisation: Tenant, attempt: LogInAttempt, identity: Identity) -> HttpResponse:
    """Log a person in whom the provider has named, or show what a test found."""
    provider = attempt.provider
    if attempt.is_test:
        with tenant_scope(organisation.id):
            outcomes.keep_test(attempt, provider, identity)
        return redirect(f"{reverse('provider', args=[organisation.slug])}?test={attempt.id}")
    try:
        with tenant_scope(organisation.id):
            user = people.admit(provider, identity)
            group_claims.follow(people.provider_actor(provider), provider, user.id, identity.groups)
    except people.NotAMember as refused:
        _note_refused(request, organisation, refused)
        with tenant_scope(organisation.id):
            state = attempts.keep_name(attempt, outcomes.stored(identity))
        context = {"organisation": organisation, "email": identity.email, "state": state}
        return render(request, "tenants/providers/not_a_member.html", context, status=403)
    with authentication.entering_as_member(request, user, organisation.id) as entered:
        if entered is None:
            raise people.AccessRemoved
        audited_access.log_in(actor=entered[0], provider=provider.name)
    sessions.open_bound(request, user, organisation)
    response = redirect(attempt.next or home_url(organisation.slug))
    response.delete_cookie(cookie_name(), samesite="Lax")
    return response


def _note_refused(request: HttpRequest, organisation: Tenant, refused: PermissionDenied) -> None:
    log_ins.note(
        log_ins.Refusal(
            method=log_ins.PROVIDER,
            code=refused.code,
            ip=ratelimit.get_ip(request),
            request_id=getattr(request, "request_id", ""),
            tenant_id=organisation.id,
        )
    )


def _with_provider(slug: str) -> Tenant:
    """Return the tenant of a path; a missing one, and one without a provider, are the same 404."""
    organisation = required.tenant_with_provider(slug)
    if organisation is None:
        raise Http404
    return organisation


def _provider() -> IdentityProvider:
    found = queries.provider()
    if found is None or not found.enabled:
        raise Http404
    return found


def _next(request: HttpRequest, organisation: Tenant) -> str:
    """Return the page to open afterwards: one of this organisation, on this very host; empty for the home page."""
    url: str = request.GET.get("next", "")
    inside = url.startswith(f"/t/{organisation.slug}/") and not url.startswith(f"/t/{organisation.slug}/sso/")
    safe = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    plain = url.isprintable() and ".." not in url and "\\" not in url
    return url if inside and safe and plain else ""


def _count(request: HttpRequest) -> None:
    """Count an attempt for its client address. Raises RateLimited."""
    usage: Any = ratelimit.consume(request, app="allauth.account", action="provider_log_in", limit_get=True)
    if not usage:
        raise RateLimited(retry_after=60)
