"""Where the payment provider reports what happened: no session, no tenant; each event is verified on its raw body."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.collecting import inbox
from billing.payments.chosen import payment_gateway
from billing.payments.errors import WebhookRefused
from tenants import clock


@csrf_exempt
@never_cache
@require_POST
def stripe_event(request: HttpRequest) -> HttpResponse:
    """Store an event of Stripe; the ops worker handles it. One that is forged, old or of another account is a 400."""
    try:
        event = payment_gateway().event(request.body, request.headers.get("Stripe-Signature", ""), clock.now())
    except WebhookRefused as refused:
        return JsonResponse({"code": refused.code, "detail": refused.message, "reason": refused.reason}, status=400)
    inbox.store(event)
    return JsonResponse({"received": True})


urlpatterns: list[URLPattern] = [path("stripe", stripe_event, name="stripe-events")]
