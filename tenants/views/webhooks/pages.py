"""Webhooks: the list, one with its deliveries; create, change, rotate, test, send again, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from tenants.access.standing import TakesAway
from tenants.errors import ExchequerError, NotFound
from tenants.views.webhooks import showing
from tenants.views.webhooks.forms import ChangeWebhook, WebhookForm
from tenants.views.webhooks.showing import Side
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.idempotency import run_once
from tenants.web.requests import TenantRequest
from tenants.web.views import page
from tenants.webhooks import catalogue, webhooks
from tenants.webhooks.queries import OWN

MANAGE = "webhooks.manage"


@require_safe
@page(MANAGE)
def webhooks_page(request: TenantRequest) -> HttpResponse:
    """List the webhooks, with the form for a new one."""
    return showing.webhooks_page(request, _side(request), WebhookForm())


@page(MANAGE)
@redirect_get_to("webhooks")
def webhook_create(request: TenantRequest) -> HttpResponse:
    """Create a webhook and show its secret once; resubmitting the form creates no second one."""
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return showing.webhooks_page(request, _side(request), form, status=422)
    made: list[webhooks.NewWebhook] = []

    def act() -> str:
        made.append(webhooks.create_webhook(actor=request.actor, **form.fields_given()))
        return reverse("webhook", args=(request.tenant.slug, made[0].webhook.id))

    try:
        place = run_once(request, form.cleaned_data["form_key"], act)
    except ExchequerError as refused:
        explain(form, refused)
        return showing.webhooks_page(request, _side(request), form, status=422)
    if not made:
        messages.warning(request, "This webhook already exists. Its secret was shown once; rotate it for another one.")
        return redirect(place)
    return _shown(request, made[0].webhook.id, secret=made[0].secret)


@require_safe
@page(MANAGE)
def webhook(request: TenantRequest, webhook_id: UUID) -> HttpResponse:
    """Show a webhook and its deliveries, newest first."""
    return _shown(request, webhook_id)


@require_POST
@page(MANAGE)
def webhook_change(request: TenantRequest, webhook_id: UUID) -> HttpResponse:
    """Change a webhook, effective with the next event."""
    form = ChangeWebhook(request.POST)
    if form.is_valid():
        try:
            row = webhooks.change_webhook(actor=request.actor, webhook_id=webhook_id, **form.fields_given())
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Webhook {row.name} saved.")
            return redirect("webhook", request.tenant.slug, webhook_id)
    return _shown(request, webhook_id, form=form, status=422)


@require_POST
@page(MANAGE)
def webhook_rotate(request: TenantRequest, webhook_id: UUID) -> HttpResponse:
    """Replace the secret and show the new one, once."""
    made = webhooks.rotate_secret(actor=request.actor, webhook_id=webhook_id)
    return _shown(request, webhook_id, secret=made.secret)


@require_POST
@page(MANAGE)
def webhook_reveal(request: TenantRequest, webhook_id: UUID) -> HttpResponse:
    """Show the whole address, on this response."""
    address = webhooks.reveal_address(actor=request.actor, webhook_id=webhook_id)
    return _shown(request, webhook_id, address=address)


@require_POST
@page(MANAGE)
def webhook_test(request: TenantRequest, webhook_id: UUID) -> HttpResponse:
    """Send a test event."""
    try:
        webhooks.send_test(actor=request.actor, webhook_id=webhook_id)
    except webhooks.TooManyTests as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "A test event is on its way. Reload the page to see what came of it.")
    return redirect("webhook", request.tenant.slug, webhook_id)


@require_POST
@page(MANAGE)
def webhook_replay(request: TenantRequest, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    """Send an ended delivery again."""
    try:
        webhooks.replay(actor=request.actor, webhook_id=webhook_id, delivery_id=delivery_id)
    except webhooks.DeliveryWaits as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "The event is sent again, with the same id.")
    return redirect("webhook", request.tenant.slug, webhook_id)


@require_POST
@page(TakesAway(MANAGE))
def webhook_delete(request: TenantRequest, webhook_id: UUID) -> HttpResponse:
    """Delete a webhook with its deliveries."""
    name = OWN.webhook(webhook_id).name
    webhooks.delete_webhook(actor=request.actor, webhook_id=webhook_id)
    messages.success(request, f"Webhook {name} deleted.")
    return redirect("webhooks", request.tenant.slug)


def _shown(request: TenantRequest, webhook_id: UUID, **more: Any) -> HttpResponse:
    """Show a webhook to somebody who may read what it is sent. Raises PermissionDenied, NotFound."""
    webhooks.check_reading(request.actor, webhook_id)
    return showing.webhook_page(request, _side(request), webhook_id, **more)


def _side(request: TenantRequest) -> Side:
    return Side(
        frame="page.html",
        whose=request.tenant.name,
        routes="",
        create="webhook-create",
        args=(request.tenant.slug,),
        reads=OWN,
        title_of=catalogue.title_of,
        change_form=ChangeWebhook,
        most=webhooks.MOST_WEBHOOKS,
        more_acts=("reveal",),
    )
