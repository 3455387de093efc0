"""Prices: those in force, every version, and publishing the next one after a preview of its changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from billing import queries
from billing.forms.prices import PriceListForm
from billing.pricing import price_books
from billing.queries import PriceBookView, VersionView
from billing.rating.price_diff import Change, changes, mark
from tenants.errors import Conflict, Invalid
from tenants.web.idempotency import run_once
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

EXPORTED = ("version", "state", "effective_at", "meter", "dimensions", "unit", "unit_amount", "currency")


@require_safe
@page("pricebooks.view")
def prices(request: TenantRequest) -> HttpResponse:
    """Show the prices in force and every version; `?export=csv` for a file."""
    book = _book()
    if wants_csv(request):
        return csv_response(request, "prices", EXPORTED, _exported(book) if book else ())
    context = {"book": book, "can_manage": request.actor.can("pricebooks.manage")}
    return render(request, "billing/prices.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page("pricebooks.manage")
def publish(request: TenantRequest) -> HttpResponse:
    """Edit the next version, preview its changes, and publish exactly what was previewed."""
    book = _book()
    if book is None or not book.versions:
        return redirect("prices", request.tenant.slug)
    wanted = request.POST.get("base", "")
    base = next((one for one in book.versions if str(one.number) == wanted), book.versions[0])
    meters = queries.meters()
    form = PriceListForm(
        request.POST or None,
        prices=base.prices,
        meters=meters,
        zone=request.tenant.timezone,
    )
    titles = {meter.key: meter.title for meter in meters}
    context: dict[str, Any] = {"form": form, "book": book, "base": base, "titles": titles}
    if request.method != "POST" or not form.is_valid():
        return _shown(request, context)
    before, after = _around(book, form.cleaned_data["effective_at"])
    context |= {"changes": _changes(before, form), "before": before, "after": after}
    if request.POST.get("step") != "publish" or form.cleaned_data["previewed"] != form.digest:
        context["digest"] = form.digest
        return _shown(request, context)
    try:
        target = run_once(request, form.cleaned_data["form_key"], lambda: _publish(request, book, base, form))
    except (Invalid, Conflict) as refused:
        fields = getattr(refused, "fields", None) or {"": [refused.message]}
        for name, texts in fields.items():
            for text in texts:
                form.add_error(name if name in form.fields else None, text)
        return _shown(request, context)
    messages.success(request, "Version published. Usage before that date keeps its current price.")
    return redirect(target)


def _publish(request: TenantRequest, book: PriceBookView, base: VersionView, form: PriceListForm) -> str:
    if base.number != book.versions[0].number:
        raise Conflict("Another version has been published. Start again from that one.")
    price_books.publish(
        actor=request.actor,
        book_id=book.id,
        prices=form.prices,
        effective_at=form.cleaned_data["effective_at"],
        note=form.cleaned_data["note"],
    )
    return reverse("prices", args=(request.tenant.slug,))


def _shown(request: TenantRequest, context: dict[str, Any]) -> HttpResponse:
    return render(request, "billing/price_list.html", context, status=422 if context["form"].errors else 200)


def _around(book: PriceBookView, at: datetime | None) -> tuple[VersionView, VersionView | None]:
    """Return the version that a new one replaces at a given time (None: now), and the one after it, if any."""
    moment = at or queries.tenant_today().now
    earlier = [one for one in book.versions if one.effective_at <= moment]
    later = [one for one in book.versions if one.effective_at > moment]
    return (earlier or book.versions)[0], later[-1] if later else None


def _changes(base: VersionView, form: PriceListForm) -> list[Change]:
    before = [(mark(price.meter, price.dims), price.unit_amount) for price in base.offered]
    after = [price for price in form.prices if queries.is_offered(price.meter, price.dims)]
    return changes(before, [(mark(price.meter, price.dims), price.unit_amount) for price in after])


def _book() -> PriceBookView | None:
    """Return the book in the organisation's currency, which rates its usage."""
    currency = queries.tenant_today().currency
    return next((book for book in queries.price_books() if book.currency == currency), None)


def _exported(book: PriceBookView) -> list[tuple[object, ...]]:
    return [
        (
            version.number,
            version.state,
            version.effective_at,
            price.meter,
            ", ".join(f"{name}={value}" for name, value in sorted(price.dims.items())),
            price.unit,
            price.unit_amount,
            price.currency,
        )
        for version in book.versions
        for price in version.offered
    ]
