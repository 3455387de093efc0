"""The console's webhooks, and what an operator gets emails about."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants.errors import ExchequerError, NotFound
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.operators.platform_events import catalogue, choices, webhooks
from tenants.operators.platform_events.queries import PLATFORM
from tenants.views.console.webhook_forms import ChangePlatformWebhook, PlatformWebhookForm
from tenants.views.webhooks import showing
from tenants.views.webhooks.showing import Side
from tenants.web.form_posts import explain
from tenants.webhooks.webhooks import DeliveryWaits, TooManyTests

SIDE = Side(
    frame="console/base.html",
    whose="Operators",
    routes="operator-",
    create="webhooks",
    args=(),
    reads=PLATFORM,
    title_of=catalogue.title_of,
    change_form=ChangePlatformWebhook,
    most=webhooks.MOST_WEBHOOKS,
)


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
            return showing.webhook_page(request, SIDE, made.webhook.id, secret=made.secret)
    return showing.webhooks_page(request, SIDE, form, status=422 if form.is_bound else 200)


@require_safe
@operator_page(webhooks.MANAGE)
def webhook_page(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Show a webhook and its deliveries, newest first."""
    return showing.webhook_page(request, SIDE, webhook_id)


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
    return showing.webhook_page(request, SIDE, webhook_id, form=form, status=422)


@require_POST
@operator_page(webhooks.MANAGE)
def webhook_rotate(request: OperatorRequest, webhook_id: UUID) -> HttpResponse:
    """Replace the secret and show the new one, once."""
    made = webhooks.rotate_secret(operator=request.operator, webhook_id=webhook_id)
    return showing.webhook_page(request, SIDE, webhook_id, secret=made.secret)


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
