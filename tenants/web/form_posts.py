"""Posted forms: POST-only URLs, refusals attached to their forms, and protection against double submission."""

import functools
import hashlib
from collections.abc import Callable
from uuid import UUID

from django import forms
from django.http import HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect

from tenants.access.actor import Actor
from tenants.errors import ExchequerError, Invalid
from tenants.models import IdempotencyKey
from tenants.web.requests import TenantRequest

View = Callable[[TenantRequest], HttpResponse]


def posted(back: str) -> Callable[[View], View]:
    """Let a view receive only POST, and redirect a GET to the page `back`.

    Stands below `page`, which checks the permission.

    A form's response may be shown at such a URL, and reloading it sends a GET.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def run(request: TenantRequest) -> HttpResponse:
            if request.method == "POST":
                return view(request)
            if request.method in ("GET", "HEAD"):
                return redirect(back, request.tenant.slug)
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])

        return run

    return decorate


def once(actor: Actor, key: UUID | None, act: Callable[[], str]) -> str:
    """Return the result of `act` (a URL to redirect to); call it only the first time this key is used.

    A concurrent duplicate waits for the first to commit. If `act` raises, the key stays unused.
    """
    if key is None or actor.id is None:
        return act()
    text = f"form:{key}"
    digest = hashlib.sha256(text.encode()).digest()
    fresh = IdempotencyKey(tenant_id=actor.tenant_id, actor_id=actor.id, key=text, request_hash=digest)
    IdempotencyKey.objects.bulk_create([fresh], ignore_conflicts=True)
    row = IdempotencyKey.objects.select_for_update(no_key=True).get(actor_id=actor.id, key=text)
    if row.body is not None:
        return str(row.body["location"])
    location = act()
    IdempotencyKey.objects.filter(id=row.id).update(status=302, body={"location": location})
    return location


def explain(form: forms.Form, refused: ExchequerError) -> None:
    """Add a domain error to a form: to the fields it names, else to the form."""
    named = refused.fields if isinstance(refused, Invalid) else {}
    for field, sentences in named.items():
        for sentence in sentences:
            form.add_error(field if field in form.fields else None, sentence)
    if not named:
        form.add_error(None, refused.message)
