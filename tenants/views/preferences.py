"""Settings: how Exchequer looks for one person, and the organisation's API keys."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from tenants import keys, queries
from tenants.actor import Actor
from tenants.edges import page
from tenants.errors import ExchequerError
from tenants.forms import NewApiKey, Preferences


@page("tenant.view")
def settings(request: HttpRequest) -> HttpResponse:
    """Show and save one's own preferences; the same page lists API keys for those who may see them."""
    form = Preferences(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("settings", request.tenant.slug)  # type: ignore[attr-defined]
    return _render(request, form=form, status=422 if form.errors else 200)


@require_POST
@page("apikeys.manage")
def create_key(request: HttpRequest) -> HttpResponse:
    """Create a key and show its secret once."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = NewApiKey(request.POST, scopes=sorted(actor.permissions))
    if not form.is_valid():
        return _render(request, key_form=form, status=422)
    try:
        made = keys.create_api_key(
            actor=actor,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
        )
    except ExchequerError as refused:
        form.add_error(None, refused.message)
        return _render(request, key_form=form, status=422)
    return _render(request, secret=made.secret)


@require_POST
@page("apikeys.manage")
def revoke_key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """Revoke a key; programs that use it are refused from their next request."""
    keys.revoke_api_key(actor=request.actor, key_id=key_id)  # type: ignore[attr-defined]
    messages.success(request, "The key is revoked. Programs that use it are refused from now on.")
    return redirect("settings", request.tenant.slug)  # type: ignore[attr-defined]


def _render(request: HttpRequest, *, status: int = 200, **given: Any) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = given.pop("form", None) or Preferences(instance=request.user)
    context: dict[str, Any] = {"form": form, **given}
    if actor.can("apikeys.view"):
        context["keys"] = queries.api_keys()
        context["can_manage_keys"] = actor.can("apikeys.manage")
        context.setdefault("key_form", NewApiKey(scopes=sorted(actor.permissions)))
    return render(request, "tenants/settings.html", context, status=status)
