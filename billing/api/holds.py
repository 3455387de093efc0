"""REST endpoints of holds for outside work."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer, Quantity
from billing.reported.holds import asking
from billing.reported.holds import queries as holds
from tenants.errors import Invalid
from tenants.queries import find_project
from tenants.web.body_fields import Amount, Whole, checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class HoldAskSerializer(serializers.Serializer[Any]):
    """How much of what is to be held, for whom and how long."""

    project = serializers.CharField(max_length=64, help_text="short name or id")
    meter = serializers.CharField(max_length=60, help_text="`key` of `/meters/`")
    quantity = Amount(max_digits=18, decimal_places=6, help_text="the most that will be used, in units of the meter")
    dims = serializers.DictField(
        required=False, help_text="dimensions that the price depends on, and tags as `tag:NAME`, as in events"
    )
    expires_in_s = Whole(min_value=1, max_value=asking.LONGEST_S, help_text="the hold ends by itself then")


class HoldExtendSerializer(serializers.Serializer[Any]):
    """More units, a new end, or both."""

    quantity = Amount(max_digits=18, decimal_places=6, required=False, help_text="units to add")
    expires_in_s = Whole(min_value=1, max_value=asking.LONGEST_S, required=False, help_text="from now")


class HoldSerializer(serializers.Serializer[Any]):
    """One hold."""

    id = serializers.UUIDField()
    state = serializers.CharField(help_text="open, released or expired")
    project = serializers.CharField(source="project_slug")
    meter = serializers.CharField()
    quantity = Quantity()
    dims = serializers.DictField(child=serializers.CharField())
    amount = MoneySerializer(help_text="the most that it pays, at the highest price until it expires")
    settled = MoneySerializer(help_text="paid for events so far")
    left = MoneySerializer(help_text="what it still pays")
    placed_by = serializers.CharField()
    placed_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class PlacedHoldSerializer(HoldSerializer):
    """One hold, and what it leaves of the budgets."""

    budget_left_after = MoneySerializer(
        allow_null=True, help_text="headroom of the tightest budget that refuses work; null without one"
    )


class Holds(ApiView):
    """Holds for outside work."""

    permissions = {"GET": "usage.ingest", "POST": asking.HOLDS}

    @extend_schema(
        operation_id="holds_list",
        parameters=[*PAGE, OpenApiParameter("state", str, enum=holds.STATES)],
        responses=page_of(HoldSerializer),
    )
    def get(self, request: Request) -> Response:
        """List holds, newest first."""
        state = request.query_params.get("state", "")
        if state and state not in holds.STATES:
            raise Invalid(fields={"state": [f"Choose one of {', '.join(holds.STATES)}."]})
        rows = holds.holds(state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, HoldSerializer, lambda row: (row.id,))

    @extend_schema(request=HoldAskSerializer, responses={201: PlacedHoldSerializer})
    def post(self, request: Request) -> Response:
        """Hold money for work outside, before it starts. 402 `budget_exceeded` with what is left if there is no room.

        403 `tenant_suspended` while the organisation is suspended. Usage of holds that were placed before is still taken.
        """
        data = checked(HoldAskSerializer(data=request.data))
        project = find_project(data["project"])
        if project is None:
            raise Invalid(fields={"project": ["There is no such project."]})
        asked = asking.Asked(
            project_id=project.id,
            meter=data["meter"],
            quantity=data["quantity"],
            dims=data.get("dims", {}),
            expires_in_s=data["expires_in_s"],
        )
        return Response(_placed(asking.place(actor=self.actor, asked=asked)), status=201)


class Hold(ApiView):
    """One hold for outside work."""

    permissions = {"GET": "usage.ingest"}

    @extend_schema(responses=HoldSerializer)
    def get(self, request: Request, hold_id: UUID) -> Response:
        """Return one hold."""
        return Response(HoldSerializer(holds.hold(hold_id)).data)


class HoldExtend(ApiView):
    """Extend one hold."""

    permissions = {"POST": asking.HOLDS}

    @extend_schema(request=HoldExtendSerializer, responses=PlacedHoldSerializer)
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Add units, or let it expire later. 409 `hold_ended` after its end, 402 `budget_exceeded` without room."""
        data = checked(HoldExtendSerializer(data=request.data))
        asking.extend(actor=self.actor, hold_id=hold_id, **data)
        return Response(_placed(hold_id))


class HoldRelease(ApiView):
    """Release one hold."""

    permissions = {"POST": "usage.ingest"}

    @extend_schema(request=None, responses=HoldSerializer)
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Return what is left to the budgets. Repeating it changes nothing."""
        asking.release(actor=self.actor, hold_id=hold_id)
        return Response(HoldSerializer(holds.hold(hold_id)).data)


def _placed(hold_id: UUID) -> Any:
    row = holds.hold(hold_id)
    return {**HoldSerializer(row).data, "budget_left_after": _money(holds.budget_left(row))}


def _money(amount: Any) -> Any:
    return None if amount is None else MoneySerializer(amount).data
