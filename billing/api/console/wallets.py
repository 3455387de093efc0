"""REST endpoints of the console's wallets: an organisation's credit, grants, and what is taken back of one."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.wallet.endpoints import BlockSerializer, WalletSerializer
from billing.rating.billed.credits import LAST_PRIORITY
from billing.rating.billed.faults import MOST_IN_SCOPE
from billing.wallets import granting, queries
from tenants.fields.days import Day
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import Amount, Whole, checked


class GrantSerializer(serializers.Serializer[Any]):
    """Promotional credit to give, in the organisation's currency."""

    amount = Amount(max_digits=38, decimal_places=12)
    expires_on = Day(
        required=False, default=None, allow_null=True, help_text="It pays bills of months that end before this day."
    )
    priority = Whole(required=False, default=50, min_value=0, max_value=LAST_PRIORITY, help_text="0 is used first")
    meters = serializers.ListField(
        child=serializers.CharField(max_length=60), required=False, default=list, max_length=MOST_IN_SCOPE
    )
    projects = serializers.ListField(
        child=serializers.UUIDField(), required=False, default=list, max_length=MOST_IN_SCOPE
    )
    reason = serializers.CharField(max_length=400, help_text="The organisation reads it")


class Credits(OperatorView):
    """The wallet of one organisation, and the credit that it is given."""

    permissions: ClassVar = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="tenants_wallet_retrieve", responses=WalletSerializer)
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """Return an organisation's wallet."""
        return Response(WalletSerializer(queries.wallet_of(tenant_id)[1]).data)

    @extend_schema(request=GrantSerializer, responses={201: BlockSerializer})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Grant promotional credit, which bills use from today's month on."""
        data = checked(GrantSerializer(data=request.data))
        reason = data.pop("reason")
        data |= {name: frozenset(data[name]) for name in ("meters", "projects")}
        given = granting.Grant(**data)
        made = granting.grant(operator=self.operator, tenant_id=tenant_id, given=given, reason=reason)
        block = next(one for one in queries.wallet_of(tenant_id)[1].blocks if one.id == made)
        return Response(BlockSerializer(block).data, status=201)


class CreditWithdrawn(OperatorView):
    """What is taken back of promotional credit."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, tenant_id: UUID, block_id: UUID) -> Response:
        """Take back what is left of promotional credit."""
        data = checked(ReasonSerializer(data=request.data))
        granting.withdraw(operator=self.operator, tenant_id=tenant_id, block_id=block_id, reason=data["reason"])
        return Response(status=204)
