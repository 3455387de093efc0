"""REST endpoints of the wallet: what it has, its movements, top-ups, and the rule that tops it up by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.invoices import topping_up
from billing.wallets import queries
from tenants.web.body_fields import Amount, checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class BlockSerializer(serializers.Serializer[Any]):
    """Credit that came in one piece."""

    id = serializers.UUIDField()
    kind = serializers.CharField(help_text="promotional or paid")
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="grant, top_up, credit_note, carried: an invoice below zero"
    )
    amount = MoneySerializer()
    left = MoneySerializer()
    priority = serializers.IntegerField(help_text="0 is used first")
    starts_on = serializers.DateField()
    expires_on = serializers.DateField(allow_null=True, help_text="It pays bills of months that end before this day.")
    meters = serializers.ListField(child=serializers.CharField(), help_text="the usage that it pays for; empty: all")
    projects = serializers.ListField(child=serializers.CharField())
    reason = serializers.CharField()
    made_at = serializers.DateTimeField()
    invoice = serializers.UUIDField(source="invoice_id", allow_null=True)


class TopUpSerializer(serializers.Serializer[Any]):
    """A top-up; payments of its invoice fill the wallet."""

    id = serializers.UUIDField()
    amount = MoneySerializer()
    automatic = serializers.BooleanField()
    state = serializers.CharField(help_text="asked: its invoice is made within seconds; open, paid, void")
    asked_at = serializers.DateTimeField()
    invoice = serializers.UUIDField(source="invoice_id", allow_null=True)
    number = serializers.CharField(help_text="of the invoice, empty until it is made")


class RuleSerializer(serializers.Serializer[Any]):
    """When the wallet is topped up by itself."""

    below = MoneySerializer(help_text="once less than this is available")
    amount = MoneySerializer()
    most = MoneySerializer(help_text="the most that it tops up in a local month")


class WalletSerializer(serializers.Serializer[Any]):
    """The wallet in the organisation's currency."""

    currency = serializers.CharField()
    prepaid = serializers.BooleanField(
        help_text="whether the contract in force lets work start within the wallet alone"
    )
    balance = MoneySerializer(help_text="paid credit")
    promotional = MoneySerializer()
    held = MoneySerializer(help_text="what running work may still use")
    unbilled = MoneySerializer(help_text="usage that no invoice has billed, without tax")
    available = MoneySerializer(help_text="usage that credit still covers after tax, less what is held and unbilled")
    blocks = BlockSerializer(many=True)
    top_ups = TopUpSerializer(many=True)
    automatic_top_up = RuleSerializer(source="automatic", allow_null=True)
    other_currencies = MoneySerializer(
        source="others",
        many=True,
        help_text="credit in currencies before the contract changed them: it pays invoices in them alone",
    )


class MovementSerializer(serializers.Serializer[Any]):
    """What came into the wallet, or left it (negative)."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    kind = serializers.CharField(
        help_text="granted, top_up, credited, carried, used, returned, expired, revoked, voided, refunded, disputed"
    )
    credit = serializers.CharField(help_text="promotional or paid")
    amount = MoneySerializer()
    invoice = serializers.UUIDField(source="invoice_id", allow_null=True)
    number = serializers.CharField(help_text="of the invoice")


class NewTopUpSerializer(serializers.Serializer[Any]):
    """An amount to pay into the wallet."""

    amount = Amount(max_digits=38, decimal_places=12)


class NewRuleSerializer(serializers.Serializer[Any]):
    """When the wallet is to be topped up by itself."""

    below = Amount(max_digits=38, decimal_places=12)
    amount = Amount(max_digits=38, decimal_places=12)
    most = Amount(max_digits=38, decimal_places=12, help_text="the most in a local month")


class Wallet(ApiView):
    """The wallet."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="wallet_retrieve", responses=WalletSerializer)
    def get(self, request: Request) -> Response:
        """Return the wallet: balance, what is held and unbilled, what is available, blocks and the newest top-ups."""
        return Response(WalletSerializer(queries.wallet()).data)


class Movements(ApiView):
    """The wallet's movements."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="wallet_movements_list", parameters=PAGE, responses=page_of(MovementSerializer))
    def get(self, request: Request) -> Response:
        """List what came in and what left, the newest first."""
        keys = cast("tuple[datetime, UUID] | None", self.after(datetime.fromisoformat, UUID))
        rows = queries.movements(after=keys, limit=self.page_size() + 1)
        return self.paginated(rows, MovementSerializer, lambda row: (row.at, row.id))


class TopUps(ApiView):
    """Top-ups of the wallet."""

    permissions = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="wallet_top_ups_list", parameters=PAGE, responses=page_of(TopUpSerializer))
    def get(self, request: Request) -> Response:
        """List top-ups, the newest first."""
        rows = queries.top_ups(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, TopUpSerializer, lambda row: (row.id,))

    @extend_schema(request=NewTopUpSerializer, responses={201: TopUpSerializer})
    def post(self, request: Request) -> Response:
        """Ask for a top-up: an invoice without tax, made within seconds, whose payments fill the wallet."""
        data = checked(NewTopUpSerializer(data=self.body()))
        made = topping_up.ask(actor=self.actor, amount=data["amount"])
        return Response(TopUpSerializer(queries.top_up(made)).data, status=201)


class AutomaticTopUp(ApiView):
    """The rule that tops the wallet up by itself."""

    permissions = {"PUT": "invoices.manage", "DELETE": "invoices.manage"}

    @extend_schema(request=NewRuleSerializer, responses=WalletSerializer)
    def put(self, request: Request) -> Response:
        """Top up by `amount` once less than `below` is available: one at a time, within `most` a local month."""
        data = checked(NewRuleSerializer(data=self.body()))
        topping_up.change_rule(actor=self.actor, rule=topping_up.Rule(**data))
        return Response(WalletSerializer(queries.wallet()).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Top up by hand only."""
        topping_up.change_rule(actor=self.actor, rule=None)
        return Response(status=204)
