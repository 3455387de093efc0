"""Settings: one person's preferences, and the organisation's."""

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from tenants import operations
from tenants.access.wording import allowed_words
from tenants.errors import ExchequerError
from tenants.grants.queries import access_of
from tenants.identity import sessions
from tenants.views.forms import Organisation, Preferences
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import sliced
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@page("tenant.view")
def settings(request: TenantRequest) -> HttpResponse:
    """Show and save one's own preferences; the page also has the organisation's for those who may change them."""
    form = Preferences(request.POST or None, instance=request.user, bound=sessions.bound_to(request) is not None)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("settings", request.tenant.slug)
    return _render(request, form=form, status=422 if form.errors else 200)


@page("tenant.view")
@redirect_get_to("settings")
def sign_out(request: TenantRequest) -> HttpResponse:
    """End one of one's own sessions, or all but this one."""
    ended = sessions.end(
        actor=request.actor,
        session_id=request.POST.get("session", ""),
        cookie=request.session.session_key,
        bound=sessions.bound_to(request),
    )
    messages.success(request, f"{ended} session{'' if ended == 1 else 's'} ended.")
    return redirect("settings", request.tenant.slug)


@page("tenant.manage")
@redirect_get_to("settings")
def organisation(request: TenantRequest) -> HttpResponse:
    """Change the organisation's name, its time zone, and whether its only member approves alone."""
    form = Organisation(request.POST, auto_id="org_%s")
    if form.is_valid():
        try:
            changed = operations.change_tenant(actor=request.actor, **form.cleaned_data)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            if changed:
                messages.success(request, "Saved for the whole organisation.")
            else:
                messages.info(request, "No changes to save.")
            return redirect("settings", request.tenant.slug)
    return _render(request, organisation=form, status=422)


def _render(request: TenantRequest, *, status: int = 200, **given: Any) -> HttpResponse:
    actor = request.actor
    tenant = request.tenant
    bound = sessions.bound_to(request)
    form = given.pop("form", None) or Preferences(instance=request.user, bound=bound is not None)
    person = cast(UUID, request.user.pk)
    own = sessions.sessions_of(person, cookie=request.session.session_key, bound=bound)
    rights = [
        {"row": row, "words": allowed_words(row.permissions), "number": len(row.permissions)}
        for row in access_of(person)
    ]
    shown, links = sliced(request, own)
    context: dict[str, Any] = {"form": form, "sessions": shown, "rights": rights, "bound": bound is not None, **links}
    context |= given
    if actor.can("tenant.manage"):
        known = {"name": tenant.name, "timezone": tenant.timezone, "self_approval": tenant.self_approval}
        known["second_factor_required"] = tenant.second_factor_required
        context.setdefault("organisation", Organisation(initial=known, auto_id="org_%s"))
    return render(request, "tenants/settings.html", context, status=status)
