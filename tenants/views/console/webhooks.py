"""The console's webhooks, and what an operator gets emails about."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants.errors import ExchequerError, NotFound
from tenants.models import DeliveryState
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.operators.platform_events import catalogue, choices, queries, webhooks
from tenants.views.console.webhook_forms import ChangePlatformWebhook, PlatformWebhookForm
from tenants.views.webhooks.deliveries import shown as shown_delivery
from tenants.views.webhooks.forms import DeliveryFilter, WebhookForm
from tenants.web.form_posts import explain
from tenants.web.pagination import before, paged
from tenants.webhooks.webhooks import DeliveryWaits, TooManyTests

PAGE = 25


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page(webhooks.MANAGE)
def webhooks_page(request: OperatorRequest) -> HttpResponse:
    """List the webhooks, and create one; its secret is shown once, on this response."""
    form = PlatformWebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = webhooks.create(operator=request.operator, **form.fields_given())
        except ExchequerError as refused:
            explain(form, refused)
        else:
            return _one(request, made.webhook.id, secret=made.secret)
    rows = queries.webhooks()
    room = len(rows) < webhooks.MOST_WEBHOOKS
    context = {"webhooks": rows, "form": form, "most": webhooks.MOST_WEBHOOKS, "room": room}
    return render(request, "console/webhooks.html", context, status=422 if form.is_bound else 200)


@require_safe
@operator_page(webhooks.MANAGE)
def webhook_page(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Show a webhook and its deliveries, newest first."""
    return _one(request, webhook_id)


@require_POST
@operator_page(webhooks.MANAGE)
def webhook_change(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Change a webhook, effective with the next event."""
    form = ChangePlatformWebhook(request.POST)
    if form.is_valid():
        try:
            row = webhooks.change(operator=request.operator, webhook_id=webhook_id, **form.fields_given())
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Webhook {row.name} saved.")
            return redirect("operator-webhook", webhook_id)
    return _one(request, webhook_id, form=form, status=422)


@require_POST
@operator_page(webhooks.MANAGE)
def webhook_rotate(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Replace the secret and show the new one, once."""
    made = webhooks.rotate_secret(operator=request.operator, webhook_id=webhook_id)
    return _one(request, webhook_id, secret=made.secret)


@require_POST
@operator_page(webhooks.MANAGE)
def webhook_test(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Send a test event."""
    try:
        webhooks.send_test(operator=request.operator, webhook_id=webhook_id)
    except TooManyTests as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "A test event is on its way. Reload the page in some seconds to see what came of it.")
    return redirect("operator-webhook", webhook_id)


@require_POST
@operator_page(webhooks.MANAGE)
def webhook_replay(request: OperatorRequest, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    """Send an ended delivery again."""
    try:
        webhooks.replay(operator=request.operator, webhook_id=webhook_id, delivery_id=delivery_id)
    except DeliveryWaits as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "The event is sent again, with the same id.")
    return redirect("operator-webhook", webhook_id)


@require_POST
@operator_page(webhooks.MANAGE)
def webhook_delete(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Delete a webhook with its deliveries."""
    name = webhooks.delete(operator=request.operator, webhook_id=webhook_id)
    messages.success(request, f"Webhook {name} deleted.")
    return redirect("operator-webhooks")


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("tenants.view")
def emails_page(request: OperatorRequest) -> HttpResponse:
    """Choose for each type of platform event whether one gets emails."""
    rows = choices.chosen(request.operator)
    if request.method == "POST":
        choices.choose(request.operator, {one.type: one.type in request.POST for one in rows})
        messages.success(request, "Saved. It applies to new events.")
        return redirect("operator-emails")
    context = {"rows": rows, "can_webhooks": request.operator.can(webhooks.MANAGE)}
    return render(request, "console/emails.html", context)


def _one(
    request: OperatorRequest, webhook_id: UUID, *, form: WebhookForm | None = None, secret: str = "", status: int = 200
) -> HttpResponse:
    row = queries.webhook(webhook_id)
    chosen = DeliveryFilter(request.GET)
    state = chosen.cleaned_data["state"] if chosen.is_valid() else ""
    rows = queries.deliveries(webhook_id, state=state, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda one: (one.id,))
    given = {name: getattr(row, name) for name in ("name", "format", "types", "enabled")}
    context: dict[str, Any] = {
        "webhook": row,
        "deliveries": [
            shown_delivery(
                one, catalogue.title_of(one.type), reverse("operator-webhook-replay", args=(webhook_id, one.id))
            )
            for one in shown
        ],
        "pending": DeliveryState.PENDING,
        "chosen": chosen,
        "filtered": bool(state),
        "form": form or ChangePlatformWebhook(initial=given),
        "secret": secret,
        **links,
    }
    return render(request, "console/webhook.html", context, status=status)
