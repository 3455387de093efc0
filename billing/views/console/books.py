"""The console's price books: the list, one with its versions, and the next version after a preview of its effect."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from billing.forms.console import NewBook
from billing.forms.prices import PriceListForm
from billing.pricing import publishing
from billing.queries import PriceBookView, VersionView, books
from billing.rating.price_diff import Change, changes, mark
from billing.views.prices import EXPORTED, exported
from tenants import clock
from tenants.errors import Conflict, ExchequerError, Invalid, NotFound
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import explain
from tenants.web.pagination import csv_response, wants_csv

ZONE = "UTC"
#: Tenants that the page of a book names; the list of contracts has all.
MOST = 200


@require_safe
@operator_page("prices.view")
def books_page(request: OperatorRequest) -> HttpResponse:
    """List price books with the number of tenants that each rates."""
    context = {"books": books.books(), "may_manage": request.operator.can("prices.manage")}
    return render(request, "console/price_books.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("prices.manage")
def new_book(request: OperatorRequest) -> HttpResponse:
    """Show the form of a new book, and create it."""
    form = NewBook(request.POST or None, books=books.books())
    if request.method == "POST" and form.is_valid():
        try:
            made = publishing.create_book(operator=request.operator, **form.cleaned_data)
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"{made.name} is created. A contract gives it to an organisation.")
            return redirect("operator-book", made.pk)
    return render(request, "console/price_book_new.html", {"form": form}, status=422 if form.is_bound else 200)


@require_safe
@operator_page("prices.view")
def book_page(request: OperatorRequest, book_id: UUID) -> HttpResponse:
    """Show a book: its versions, and the tenants whose contracts name it; `?export=csv` for a file."""
    book = books.book(book_id)
    if wants_csv(request):
        return csv_response(
            request, "prices", EXPORTED, exported((version, version.prices) for version in book.versions)
        )
    rows = books.contract_rows(book_id=book_id, limit=MOST)
    context = {
        "book": book,
        "contracts": rows[:MOST],
        "most": MOST if len(rows) > MOST else 0,
        "may_manage": request.operator.can("prices.manage"),
    }
    return render(request, "console/price_book.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("prices.manage")
def publish_page(request: OperatorRequest, book_id: UUID) -> HttpResponse:
    """Edit the next version, preview its changes and what last month would have cost, and publish what was previewed."""
    book = books.book(book_id)
    wanted = request.POST.get("base", "")
    newest = max(book.versions, key=lambda one: one.number)
    base = next((one for one in book.versions if str(one.number) == wanted), newest)
    meters = books.meters_under(book_id)
    form = PriceListForm(request.POST or None, prices=base.prices, meters=meters, zone=ZONE)
    titles = {meter.key: meter.title for meter in meters}
    context: dict[str, Any] = {"form": form, "book": book, "base": base, "titles": titles, "zone_name": ZONE}
    if request.method != "POST" or not form.is_valid():
        return _shown(request, context)
    before, after = _around(book, form.cleaned_data["effective_at"])
    month = books.last_month()
    rows = books.preview(book_id, form.prices, month)
    context |= {"changes": _changes(before, form), "before": before, "after": after, "month": month, "rows": rows}
    if request.POST.get("step") != "publish" or form.cleaned_data["previewed"] != form.digest:
        context["digest"] = form.digest
        return _shown(request, context)
    try:
        publishing.publish(
            operator=request.operator,
            book_id=book_id,
            prices=form.prices,
            effective_at=form.cleaned_data["effective_at"],
            reason=form.cleaned_data["note"],
            after=base.number,
        )
    except (Invalid, Conflict) as refused:
        fields = getattr(refused, "fields", None) or {"": [refused.message]}
        for name, texts in fields.items():
            for text in texts:
                form.add_error(name if name in form.fields else None, text)
        return _shown(request, context)
    messages.success(request, "Version published. Usage before that date keeps its current price.")
    return redirect("operator-book", book_id)


def _shown(request: OperatorRequest, context: dict[str, Any]) -> HttpResponse:
    return render(request, "console/price_list.html", context, status=422 if context["form"].errors else 200)


def _around(book: PriceBookView, at: datetime | None) -> tuple[VersionView, VersionView | None]:
    """Return the version that a new one replaces at a given time (None: now), and the one after it, if any."""
    moment = at or clock.now()
    earlier = [one for one in book.versions if one.effective_at <= moment]
    later = [one for one in book.versions if one.effective_at > moment]
    return (earlier or book.versions)[0], later[-1] if later else None


def _changes(base: VersionView, form: PriceListForm) -> list[Change]:
    before = [(mark(price.meter, price.dims), price.unit_amount) for price in base.prices]
    return changes(before, [(mark(price.meter, price.dims), price.unit_amount) for price in form.prices])
