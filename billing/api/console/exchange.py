"""REST endpoints of the seller's exchange rates: the list, and one to enter. None is changed or removed."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.exchange import queries, table
from tenants.errors import Invalid
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of

NAMES = {"source": "from_currency", "target": "to_currency"}


class ExchangeRateSerializer(serializers.Serializer[Any]):
    """What one unit of a price book's currency is worth in the currency of contracts."""

    id = serializers.UUIDField()
    from_currency = serializers.CharField(source="source", help_text="the currency of price books")
    to_currency = serializers.CharField(source="target", help_text="the currency of contracts")
    rate = serializers.DecimalField(max_digits=38, decimal_places=12, help_text="what one unit of it is worth")
    valid_from = serializers.DateTimeField()
    origin = serializers.CharField(help_text="who published it")
    entered_by = serializers.CharField()
    entered_at = serializers.DateTimeField()
    state = serializers.CharField(help_text="coming, in_force or past")


class NewExchangeRateSerializer(ReasonSerializer):
    """A rate to enter."""

    from_currency = serializers.CharField(source="source", max_length=3)
    to_currency = serializers.CharField(source="target", max_length=3)
    rate = serializers.DecimalField(max_digits=38, decimal_places=12, min_value=0)
    valid_from = serializers.DateTimeField(
        required=False,
        default=None,
        allow_null=True,
        help_text="at least five minutes ahead, unless it is the first of its pair; without one as early as it may",
    )
    origin = serializers.CharField(max_length=120, help_text="who published it, such as ECB")


class ExchangeRates(OperatorView):
    """The seller's exchange rates."""

    permissions: ClassVar = {"GET": "prices.view", "POST": "prices.manage"}

    @extend_schema(operation_id="exchange_rates_list", responses=page_of(ExchangeRateSerializer))
    def get(self, request: Request) -> Response:
        """List all rates, the newest entered first."""
        rows = queries.exchange_rates(after=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, ExchangeRateSerializer, lambda row: (str(row.id),))

    @extend_schema(request=NewExchangeRateSerializer, responses={201: ExchangeRateSerializer})
    def post(self, request: Request) -> Response:
        """Enter a rate. Usage keeps the rate that was in force at its time. No key does this."""
        data = checked(NewExchangeRateSerializer(data=request.data))
        reason = data.pop("reason")
        try:
            made = table.enter(operator=self.operator, new=table.NewExchangeRate(**data), reason=reason)
        except Invalid as wrong:
            raise Invalid(fields={NAMES.get(name, name): texts for name, texts in wrong.fields.items()}) from None
        return Response(ExchangeRateSerializer(queries.exchange_rate(made.pk)).data, status=201)
