"""Prices: the contract's facts, the prices in force, and every version of its book. Operators write them."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing import queries
from billing.queries import PriceView, VersionView
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

EXPORTED = ("version", "state", "effective_at", "meter", "dimensions", "unit", "unit_amount", "currency")


@require_safe
@page("pricebooks.view")
def prices(request: TenantRequest) -> HttpResponse:
    """Show the contract, the prices in force and every version; `?export=csv` for a file."""
    book = next(iter(queries.price_books()), None)
    if wants_csv(request):
        return csv_response(
            request,
            "prices",
            EXPORTED,
            exported((version, version.prices) for version in book.versions) if book else (),
        )
    contracts = queries.contracts()
    context = {
        "book": book,
        "contract": next((one for one in contracts if one.state == "in_force"), None),
        "coming": next((one for one in contracts if one.state == "coming"), None),
    }
    return render(request, "billing/prices.html", context)


def exported(versions: Iterable[tuple[VersionView, Iterable[PriceView]]]) -> list[tuple[object, ...]]:
    """Return versions with their prices as rows of EXPORTED."""
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
        for version, prices in versions
        for price in prices
    ]
