"""Actions on an endpoint's page: create and revoke keys, try one row."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from billing.queries.calendar import tenant_today
from models_app.endpoints import endpoint_keys, endpoints, playground
from models_app.forms.endpoints import KeyForm, TryForm
from models_app.views.endpoints import endpoint_page
from tenants.access.standing import TakesAway
from tenants.errors import ExchequerError
from tenants.isolation.scoping import tenant_scope
from tenants.web.form_posts import explain
from tenants.web.idempotency import run_once
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("endpoints.manage")
def endpoint_key_create(request: TenantRequest, endpoint_id: UUID) -> HttpResponse:
    """Create a key and show its secret once.

    Resubmitting the form creates no second key; a GET redirects to the endpoint.
    """
    actor = request.actor
    endpoints.endpoint_detail(actor, endpoint_id)
    if request.method != "POST":
        return redirect("endpoint", request.tenant.slug, endpoint_id)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return endpoint_page(request, endpoint_id, key_form=form, status=422)
    made: list[endpoint_keys.NewEndpointKey] = []

    def act() -> str:
        entered = form.cleaned_data
        made.append(
            endpoint_keys.create(
                actor=actor,
                endpoint_id=endpoint_id,
                name=entered["name"],
                requests_per_minute=entered["requests_per_minute"],
            )
        )
        return reverse("endpoint", args=(request.tenant.slug, endpoint_id))

    try:
        with transaction.atomic():
            place = run_once(request, form.cleaned_data["form_key"], act)
    except ExchequerError as refused:
        explain(form, refused)
        return endpoint_page(request, endpoint_id, key_form=form, status=422)
    if not made:
        messages.warning(request, "This key already exists. Its secret was shown once and cannot be shown again.")
        return redirect(place)
    return endpoint_page(request, endpoint_id, secret=made[0].secret, made=made[0].id)


@require_POST
@page(TakesAway("endpoints.manage"))
def endpoint_key_revoke(request: TenantRequest, endpoint_id: UUID, endpoint_key_id: UUID) -> HttpResponse:
    """Revoke a key; its clients are refused from the next batch of requests."""
    endpoint_keys.revoke(actor=request.actor, endpoint_id=endpoint_id, key_id=endpoint_key_id)
    messages.success(request, "Key revoked. Programs that use it are refused.")
    return redirect("endpoint", request.tenant.slug, endpoint_id)


@require_http_methods(["GET", "HEAD", "POST"])
@page("endpoints.manage", own_transaction=True)
def endpoint_try(request: TenantRequest, endpoint_id: UUID) -> HttpResponse:
    """Predict the entered row on the serving node, with no transaction open; a GET redirects to the endpoint."""
    actor = request.actor
    with tenant_scope(actor.tenant_id):
        row = endpoints.endpoint_detail(actor, endpoint_id)
        if request.method != "POST":
            return redirect("endpoint", request.tenant.slug, endpoint_id)
        form = TryForm(request.POST, inputs=playground.inputs(actor, endpoint_id))
    tried: playground.PredictionPreview | None = None
    notes: tuple[str, ...] = ()
    if not row.live:
        tried = playground.PredictionPreview(fault="This endpoint is undeployed and no longer answers.")
    elif form.is_valid():
        with tenant_scope(actor.tenant_id):
            notes = playground.notes(actor, endpoint_id, form.row())
            currency = tenant_today().currency
        tried = playground.predict(
            actor,
            endpoint_id=endpoint_id,
            name=row.name,
            row=form.row(),
            currency=currency,
            request_id=request.request_id,
        )
    status = 422 if tried is None or tried.fault else 200
    if request.headers.get("HX-Request") == "true":
        context = {"try_form": form, "tried": tried, "notes": notes, "endpoint": row}
        return render(request, "models_app/_tried.html", context, status=status)
    with tenant_scope(actor.tenant_id):
        return endpoint_page(request, endpoint_id, status=status, try_form=form, tried=tried, notes=notes)
