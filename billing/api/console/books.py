"""REST endpoints of the console's price books: the list, one, a new one, its next version, and what it would change."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.api.serializers import BookPriceSerializer, PriceBookSerializer, VersionSerializer
from billing.pricing import publishing
from billing.queries import books
from billing.rating.new_price import NewPrice
from tenants.errors import Invalid
from tenants.operators.api.base import OperatorView
from tenants.web.body_fields import Moment, Whole, checked
from tenants.web.openapi import page_of


class BookRowSerializer(serializers.Serializer[Any]):
    """A price book in the list."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    currency = serializers.CharField()
    is_standard = serializers.BooleanField(help_text="Whether new organisations of the currency get it")
    versions = serializers.IntegerField()
    tenants = serializers.IntegerField(help_text="Organisations whose contract names it")


class NewBookSerializer(serializers.Serializer[Any]):
    """A price book to create; its first version starts at once."""

    name = serializers.CharField(max_length=120)
    currency = serializers.CharField(max_length=3)
    copy_of = serializers.UUIDField(required=False, default=None, allow_null=True, help_text="null: the default prices")
    reason = serializers.CharField(max_length=400)


class ListedPricesSerializer(serializers.Serializer[Any]):
    """A complete list of prices."""

    prices = BookPriceSerializer(many=True, allow_empty=False)


class NewVersionSerializer(ListedPricesSerializer):
    """The next version of a price book."""

    effective_at = Moment(
        required=False, default=None, allow_null=True, help_text="at least five minutes ahead, which is the default"
    )
    after = Whole(
        required=False,
        default=None,
        allow_null=True,
        min_value=1,
        help_text="The newest version that the list was made from; refused if another came after",
    )
    reason = serializers.CharField(max_length=200, help_text="Tenants and other operators read it")


class PreviewRowSerializer(serializers.Serializer[Any]):
    """What an organisation paid for last month, and what it would have paid by the listed prices."""

    tenant_id = serializers.UUIDField()
    tenant_name = serializers.CharField(source="name")
    before = MoneySerializer()
    after = MoneySerializer()
    change = MoneySerializer()


class PreviewSerializer(serializers.Serializer[Any]):
    """The effect of a list of prices on last month."""

    month = serializers.DateField(help_text="Its first day")
    tenants = PreviewRowSerializer(many=True)


class Books(OperatorView):
    """All price books."""

    permissions: ClassVar = {"GET": "prices.view", "POST": "prices.manage"}

    @extend_schema(operation_id="price_books_list", responses=page_of(BookRowSerializer))
    def get(self, request: Request) -> Response:
        """List price books by name, with the number of organisations that each rates."""
        return self.whole(books.books(), BookRowSerializer)

    @extend_schema(request=NewBookSerializer, responses={201: PriceBookSerializer})
    def post(self, request: Request) -> Response:
        """Create a price book. A contract gives it to an organisation. No key does this, whatever its roles."""
        made = publishing.create_book(operator=self.operator, **checked(NewBookSerializer(data=request.data)))
        return Response(PriceBookSerializer(books.book(made.pk)).data, status=201)


class OneBook(OperatorView):
    """One price book."""

    permissions: ClassVar = {"GET": "prices.view"}

    @extend_schema(operation_id="price_books_retrieve", responses=PriceBookSerializer)
    def get(self, request: Request, book_id: UUID) -> Response:
        """Return a price book with its versions."""
        return Response(PriceBookSerializer(books.book(book_id)).data)


class Versions(OperatorView):
    """The versions of a price book."""

    permissions: ClassVar = {"POST": "prices.manage"}

    @extend_schema(request=NewVersionSerializer, responses={201: VersionSerializer})
    def post(self, request: Request, book_id: UUID) -> Response:
        """Publish the next version of a price book. Usage accepted so far keeps its price. No key does this."""
        publishing.check_size(_given(request))
        data = checked(NewVersionSerializer(data=request.data))
        data["prices"] = _prices(data)
        made = publishing.publish(operator=self.operator, book_id=book_id, **data)
        found = next(one for one in books.book(book_id).versions if one.id == made.pk)
        return Response(VersionSerializer(found).data, status=201)


class Preview(OperatorView):
    """The effect of prices that are not published."""

    permissions: ClassVar = {"POST": "prices.manage"}

    @extend_schema(request=ListedPricesSerializer, responses=PreviewSerializer)
    def post(self, request: Request, book_id: UUID) -> Response:
        """Return what each organisation under a book paid for last month and would have paid by a list of prices.

        Nothing is stored. No key does this.
        """
        publishing.check_size(_given(request))
        prices = _prices(checked(ListedPricesSerializer(data=request.data)))
        if wrong := publishing.faults(prices):
            raise Invalid(fields=wrong)
        month = books.last_month()
        rows = books.preview(book_id, prices, month)
        return Response(PreviewSerializer({"month": month, "tenants": rows}).data)


def _given(request: Request) -> list[Any]:
    """Return the listed prices before anything reads their entries."""
    listed = request.data.get("prices") if isinstance(request.data, dict) else None
    return listed if isinstance(listed, list) else []


def _prices(data: dict[str, Any]) -> list[NewPrice]:
    return [NewPrice(one["meter"], one["dims"], one["unit_amount"], one.get("list_amount")) for one in data["prices"]]
