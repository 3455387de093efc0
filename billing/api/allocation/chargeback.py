"""REST endpoints of chargeback: a month's invoice by project, person, tag and the like, and the tags that launches must carry."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.allocation.chargeback import chargeback
from billing.allocation.required_tags import Required, required_tags, set_required_tags
from billing.api.fields import MoneySerializer, Quantity
from billing.queries.calendar import tenant_today
from tenants.parsing import parse_month
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class ChargebackSerializer(serializers.Serializer[Any]):
    """What one combination of values comes to, without tax. A key without a value is null, and has a name all the same."""

    keys = serializers.DictField(child=serializers.CharField(allow_null=True))
    names = serializers.DictField(child=serializers.CharField())
    cost = MoneySerializer()
    quantity = Quantity(allow_null=True, help_text="in `unit`; null over several units")
    unit = serializers.CharField()
    predictions = Quantity(help_text="requests that endpoints answered")
    per_1000 = MoneySerializer(allow_null=True, help_text="the cost of a thousand predictions; null without any")
    lines = serializers.ListField(
        child=serializers.IntegerField(), help_text="the numbers of the lines of the invoice that it has a part of"
    )


class ChargebackEndpoint(ApiView):
    """A month's invoice, by whom and what."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="chargeback_list",
        parameters=[
            OpenApiParameter("period", str, description="a month, such as 2026-11; default: the running one"),
            OpenApiParameter(
                "by",
                str,
                description="one or two, by comma: project, person, model, endpoint, meter, tier, device_class, job, "
                "tag:NAME; default: project",
            ),
        ],
        responses=page_of(ChargebackSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return what each combination comes to, the dearest first.

        The costs of all rows add up to the invoice's sum without tax, or to that of its draft. An adjustment belongs to the
        usage that it adjusts; what belongs to none has the key null.
        """
        period = parse_month(request.query_params.get("period", "")) or tenant_today().period
        by = [name.strip() for name in request.query_params.get("by", "project").split(",") if name.strip()]
        return self.whole(chargeback(period, by).rows, ChargebackSerializer)


class RequiredTagSerializer(serializers.Serializer[Any]):
    """A tag, its allowed values (an empty list allows any) and the kinds of work that carry it (an empty list: all)."""

    name = serializers.CharField(max_length=40)
    values = serializers.ListField(child=serializers.CharField(max_length=120), required=False, default=list)
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=60),
        required=False,
        default=list,
        help_text="such as `train`, `batch_predict` and `endpoint`",
    )


class RequiredTagsSerializer(serializers.Serializer[Any]):
    """The required tags; `tags` is the complete list."""

    tags = RequiredTagSerializer(many=True)


class RequiredTags(ApiView):
    """The tags that every launch must carry."""

    permissions = {"GET": "jobs.view", "PUT": "invoices.manage"}

    @extend_schema(operation_id="required_tags_retrieve", responses=RequiredTagsSerializer)
    def get(self, request: Request) -> Response:
        """Return the required tags."""
        return self._answer()

    @extend_schema(request=RequiredTagsSerializer, responses=RequiredTagsSerializer)
    def put(self, request: Request) -> Response:
        """Replace the list. A launch without one of these tags, or with another value, is refused with 400."""
        body = checked(RequiredTagsSerializer(data=request.data))
        tags = [Required(one["name"], tuple(one["values"]), tuple(one["kinds"])) for one in body["tags"]]
        set_required_tags(actor=self.actor, tags=tags)
        return self._answer()

    def _answer(self) -> Response:
        return Response(RequiredTagsSerializer({"tags": required_tags()}).data)
