"""Reported usage: requests and senders, review, voiding, and sender limits."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from billing import queries
from billing.defaults import METERS
from billing.forms.budgets import Decision, SenderLimits
from billing.forms.fields import typed
from billing.forms.meters import LABELS, NewMeter
from billing.metering import meters
from billing.models.outside import REASONS
from billing.money import Money
from billing.reported import reviews, sender_limits, voids
from billing.reported.batches import WHY
from tenants.errors import ExchequerError, Invalid
from tenants.parsing import uuid_in
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

ROWS = 50
PLATFORM = {one.key for one in METERS}


@require_safe
@page("invoices.view")
def reported(request: TenantRequest) -> HttpResponse:
    """Show events that wait for review, the reporting requests, and the limits of senders."""
    limits = sender_limits.limits()
    currency = limits.amount.currency
    batches = queries.usage_batches(before=before(request, UUID), limit=ROWS)
    shown, links = paged(request, batches, ROWS, lambda row: (row.id,))
    waiting = queries.held_events(limit=ROWS)
    meters = queries.meters()
    first = {"events": limits.events, "amount": typed(limits.amount.rounded().amount)}
    context = {
        "waiting": waiting[:ROWS],
        "waiting_count": queries.waiting_count() if waiting else 0,
        "why": {reason: WHY[reason] for reason in REASONS},
        "batches": shown,
        "before_senders": queries.reported_before_senders(),
        "limits": limits,
        "form": SenderLimits(currency=currency, initial=first),
        "decision": Decision(auto_id="decision_%s"),
        "can_decide": request.actor.can("invoices.manage"),
        "can_limit": request.actor.can("budgets.manage"),
        "titles": {one.key: one.title for one in meters},
        "meters": [one for one in meters if one.key not in PLATFORM],
        "meter_counts": LABELS,
        "meter_form": NewMeter(auto_id="meter_%s"),
        "can_define": request.actor.can("meters.manage"),
        **links,
    }
    return render(request, "billing/reported.html", context)


@require_POST
@page("invoices.manage")
def reported_decide(request: TenantRequest) -> HttpResponse:
    """Accept or reject the chosen events."""
    chosen = [found for text in request.POST.getlist("event") if (found := uuid_in(text))]
    accept = request.POST.get("decision") == "accept"

    def act() -> str:
        done = reviews.decide(
            actor=request.actor, event_ids=chosen, accept=accept, reason=request.POST.get("reason", "")
        )
        if not accept:
            return f"{done.events} rejected. Their ids stay used."
        return f"{done.events} accepted and counted: {done.amount.plain()}."

    return _done(request, act, "reported")


@require_POST
@page("budgets.manage")
def reported_limits(request: TenantRequest) -> HttpResponse:
    """Set the daily limits of each sender."""
    form = SenderLimits(request.POST, currency=queries.tenant_today().currency)

    def act() -> str:
        if not form.is_valid():
            raise Invalid(fields=_faults(form))
        sender_limits.set_limits(actor=request.actor, **form.cleaned_data)
        return "Limits saved."

    return _done(request, act, "reported")


@require_POST
@page("meters.manage")
def reported_meter(request: TenantRequest) -> HttpResponse:
    """Define a meter."""
    form = NewMeter(request.POST)

    def act() -> str:
        if not form.is_valid():
            raise Invalid(fields=_faults(form))
        made = meters.define(actor=request.actor, **form.cleaned_data)
        return f"{made.title} counts events of the type {made.event_type}."

    return _done(request, act, "reported")


@require_safe
@page("invoices.view")
def reported_batch(request: TenantRequest, batch_id: UUID) -> HttpResponse:
    """Show one request with its events."""
    batch = queries.usage_batch(batch_id)
    events = queries.batch_events(batch, after=before(request, bytes.fromhex), limit=ROWS)
    shown, links = paged(request, events, ROWS, lambda row: (row.key.hex(),))
    context = {
        "batch": batch,
        "events": shown,
        "decision": Decision(auto_id="decision_%s"),
        "can_decide": request.actor.can("invoices.manage"),
        **links,
    }
    return render(request, "billing/reported_batch.html", context)


@require_POST
@page("invoices.manage")
def reported_void(request: TenantRequest, batch_id: UUID) -> HttpResponse:
    """Void the chosen events of a request, or all of it."""
    queries.usage_batch(batch_id)
    reason = request.POST.get("reason", "")
    keys = [bytes.fromhex(text) for text in request.POST.getlist("event") if _is_key(text)]

    def act() -> str:
        if request.POST.get("what") == "chosen":
            amount = voids.void_events(actor=request.actor, keys=keys, reason=reason)
        else:
            amount = voids.void_batch(actor=request.actor, batch_id=batch_id, reason=reason)
        return f"Voided: {Money(amount, queries.tenant_today().currency).plain()} reversed."

    return _done(request, act, "reported-batch", batch_id)


def _done(request: TenantRequest, act: Callable[[], str], where: str, *rest: UUID) -> HttpResponse:
    """Execute the action and show its result on the page it came from."""
    try:
        messages.success(request, act())
    except ExchequerError as refused:
        messages.error(request, refused.message)
    return redirect(where, request.tenant.slug, *rest)


def _faults(form: forms.Form) -> dict[str, list[str]]:
    """Return what is wrong, by the labels of the fields."""
    return {str(form.fields[name].label): list(map(str, texts)) for name, texts in form.errors.items()}


def _is_key(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == 16
    except ValueError:
        return False
