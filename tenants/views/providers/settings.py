"""The pages of an organisation's identity provider: configuration, domains, SCIM tokens, groups, linked people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from tenants import clock
from tenants.access.standing import TakesAway
from tenants.errors import ExchequerError, Invalid, NotFound
from tenants.identity.members import parse_jobs
from tenants.identity.providers import (
    attempts,
    certificates,
    configuration,
    domains,
    group_claims,
    oidc,
    outcomes,
    people,
    queries,
    required,
    scim_tokens,
)
from tenants.isolation.scoping import tenant_scope
from tenants.models import OIDC, Group
from tenants.parsing import uuid_in
from tenants.queries import members
from tenants.views.providers import forms
from tenants.views.providers.log_in import cookie_name, send_to_provider
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.idempotency import run_once
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
MOST_GROUPS = 500


@require_safe
@page("identity.view")
def provider(request: TenantRequest) -> HttpResponse:
    """Show the provider, its domains, tokens, groups and people; `?test=ID` shows what a test log-in found."""
    return _render(request)


@page("identity.manage")
@redirect_get_to("provider")
def provider_save(request: TenantRequest) -> HttpResponse:
    """Store the provider."""
    form = forms.Provider(_with_metadata(request))
    if not form.is_valid():
        return _render(request, form=form, status=422)
    try:
        if request.POST.get("metadata", "").strip():
            certificates.from_metadata(request.POST["metadata"])
        configuration.save(actor=request.actor, wanted=form.wanted())
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, form=form, status=422)
    oidc.forget(request.tenant_id)
    messages.success(request, "Saved. Test the log-in before people use it.")
    return redirect("provider", request.tenant.slug)


@require_POST
@page("identity.manage")
def provider_remove(request: TenantRequest) -> HttpResponse:
    """Remove the provider."""
    configuration.remove(actor=request.actor)
    messages.success(request, "Removed. Its sessions and SCIM tokens have ended; members stay.")
    return redirect("provider", request.tenant.slug)


@require_POST
@page("identity.manage")
def provider_require(request: TenantRequest) -> HttpResponse:
    """Require the provider, or let passwords in again, as the pressed button asks."""
    wanted = request.POST.get("required") == "1"
    configuration.require(actor=request.actor, required=wanted)
    messages.success(request, "Saved. It applies from everybody’s next request.")
    return redirect("provider", request.tenant.slug)


@page("identity.manage")
@redirect_get_to("provider")
def provider_leavers(request: TenantRequest) -> HttpResponse:
    """Choose what becomes of the open jobs of members whom the provider removes."""
    try:
        configuration.choose_for_leavers(actor=request.actor, jobs=parse_jobs(request.POST.get("jobs")))
    except Invalid as refused:
        return _render(request, status=422, leavers_refused=" ".join(refused.fields["jobs"]))
    messages.success(request, "Saved. It applies to members whom the provider removes next.")
    return redirect("provider", request.tenant.slug)


@require_POST
@page("identity.manage", own_transaction=True)
def provider_test(request: TenantRequest) -> HttpResponse:
    """Begin a test log-in, and link to the provider: what it finds is shown, and changes nothing."""
    browser = request.COOKIES.get(cookie_name(), "") or attempts.fresh_secret()
    with tenant_scope(request.tenant_id):
        found = queries.provider()
        if found is None or not found.enabled:
            raise NotFound("Save and enable the identity provider first.")
        begun = attempts.begin(found, browser=browser, is_test=True)
    try:
        away = send_to_provider(request.tenant, found, begun, browser)
    except ExchequerError as failed:
        with tenant_scope(request.tenant_id):
            return _render(request, test=outcomes.failure(failed), status=422)
    # A form may lead to our own pages only (form-action): so this page links to the provider.
    with tenant_scope(request.tenant_id):
        response = _render(request, leads_to=away["Location"])
    response.cookies.update(away.cookies)
    return response


@page("identity.manage")
@redirect_get_to("provider")
def domain_add(request: TenantRequest) -> HttpResponse:
    """List a domain."""
    form = forms.Domain(request.POST)
    if form.is_valid():
        try:
            domains.add(actor=request.actor, name=form.cleaned_data["name"])
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Listed. Publish its TXT record, then verify it.")
            return redirect("provider", request.tenant.slug)
    return _render(request, domain_form=form, status=422)


@require_POST
@page("identity.manage", own_transaction=True)
def domain_verify(request: TenantRequest, domain_id: UUID) -> HttpResponse:
    """Read a domain's TXT record, and accept it as proof."""
    with tenant_scope(request.tenant_id):
        found = domains.find(domain_id)
    records = [] if found.verified_at and not found.missing_since else domains.txt_records(found.record_name)
    try:
        domains.prove(actor=request.actor, domain_id=domain_id, records=records)
    except domains.RecordMissing as missing:
        messages.warning(request, f"{found.name}: {missing.message}")
    else:
        messages.success(request, f"{found.name} is verified.")
    return redirect("provider", request.tenant.slug)


@require_POST
@page("identity.manage")
def domain_remove(request: TenantRequest, domain_id: UUID) -> HttpResponse:
    """Remove a domain."""
    domains.remove(actor=request.actor, domain_id=domain_id)
    messages.success(request, "Removed. The provider names nobody new with its addresses.")
    return redirect("provider", request.tenant.slug)


@page("identity.manage")
@redirect_get_to("provider")
def scim_token_create(request: TenantRequest) -> HttpResponse:
    """Create a SCIM token and show its secret once; resubmitting the form creates no second one."""
    form = forms.Token(request.POST, auto_id="token_%s")
    if not form.is_valid():
        return _render(request, token_form=form, status=422)
    made: list[scim_tokens.NewToken] = []
    days = form.cleaned_data["days"]

    def act() -> str:
        expires_at = clock.now() + timedelta(days=days) if days else None
        made.append(scim_tokens.create(actor=request.actor, name=form.cleaned_data["name"], expires_at=expires_at))
        return reverse("provider", args=(request.tenant.slug,))

    try:
        place = run_once(request, form.cleaned_data["form_key"], act)
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, token_form=form, status=422)
    if not made:
        messages.warning(request, "This token exists already. Its secret was shown once and cannot be shown again.")
        return redirect(place)
    return _render(request, secret=made[0].secret, made=made[0].id)


@require_POST
@page(TakesAway("identity.manage"))
def scim_token_revoke(request: TenantRequest, token_id: UUID) -> HttpResponse:
    """Revoke a SCIM token."""
    scim_tokens.revoke(actor=request.actor, token_id=token_id)
    messages.success(request, "Token revoked. The provider is refused from its next request.")
    return redirect("provider", request.tenant.slug)


@page("identity.manage")
@redirect_get_to("provider")
def group_map(request: TenantRequest) -> HttpResponse:
    """Let the provider fill a group."""
    form = forms.Mapping(request.POST, groups=_groups())
    if form.is_valid():
        data = form.cleaned_data
        try:
            group_claims.map_group(actor=request.actor, group_id=data["group"], claim=data["claim"])
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Mapped. The group follows the provider from the next log-in.")
            return redirect("provider", request.tenant.slug)
    return _render(request, mapping_form=form, status=422)


@require_POST
@page("identity.manage")
def group_unmap(request: TenantRequest, mapping_id: UUID) -> HttpResponse:
    """Fill a group by hand again."""
    group_claims.unmap_group(actor=request.actor, mapping_id=mapping_id)
    messages.success(request, "The group is filled by hand again; its members stay.")
    return redirect("provider", request.tenant.slug)


@require_POST
@page(TakesAway("identity.manage"))
def identity_unlink(request: TenantRequest, identity_id: UUID) -> HttpResponse:
    """Unlink a person from the provider's name for them."""
    people.unlink(actor=request.actor, identity_id=identity_id)
    messages.success(request, "Unlinked. The sessions that it opened have ended; the person stays a member.")
    return redirect("provider", request.tenant.slug)


def _with_metadata(request: HttpRequest) -> Any:
    """Return the form's input, with what pasted metadata states in place of the fields that it fills."""
    given = request.POST.copy()
    text = given.get("metadata", "").strip()
    if text and given.get("kind") != OIDC:
        try:
            found = certificates.from_metadata(text)
        except ExchequerError:
            return given  # the operation says so, at the form
        given["issuer"], given["sign_in_url"] = found.issuer, found.sign_in_url
        given["certificates"] = "-----END CERTIFICATE-----\n".join(found.certificates)
    return given


def _groups() -> list[tuple[str, str]]:
    """Return the groups that can be mapped, by name."""
    rows = Group.objects.order_by("name").values_list("id", "name")[:MOST_GROUPS]
    return [(str(group_id), name) for group_id, name in rows]


def _heirs() -> list[tuple[str, str]]:
    """Return id and address of each member who may take jobs over."""
    return [(str(one.user_id), one.email) for one in members() if "jobs.launch" in one.rights.everywhere]


def _render(request: TenantRequest, *, status: int = 200, **given: Any) -> HttpResponse:
    actor, row = request.actor, queries.provider_row()
    manages = actor.can("identity.manage")
    linked = queries.identities(before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, linked, PAGE, lambda one: (one.id,))
    test_id = uuid_in(request.GET.get("test"))
    context: dict[str, Any] = {
        "provider": row,
        "ours": queries.addresses(request.tenant.slug),
        "domains": domains.domains(),
        "tokens": queries.scim_tokens(),
        "mapped": group_claims.mapped_groups(),
        "linked": shown,
        "manages": manages,
        "way_in": configuration.has_way_in() if manages else False,
        "mine_is_captured": required.is_captured(actor.label) if actor.kind == "user" else False,
        "test": outcomes.test_of(test_id) if test_id else None,
        "now": clock.now(),
        **links,
        **given,
    }
    if manages:
        heirs = _heirs() if row else []
        context["heirs"] = heirs
        context["heir_is_gone"] = row and row.leavers_heir and row.leavers_jobs not in dict(heirs)
        context.setdefault("form", forms.Provider(known=row))
        context.setdefault("domain_form", forms.Domain(auto_id="domain_%s"))
        context.setdefault("token_form", forms.Token(auto_id="token_%s"))
        context.setdefault("mapping_form", forms.Mapping(groups=_groups()))
    return render(request, "tenants/providers/provider.html", context, status=status)
