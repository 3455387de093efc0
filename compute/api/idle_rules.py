"""REST endpoints of the rules by which devices count as idle: an organisation's own, and the console's by class of device."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.idle import rules
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import Whole, checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class FiguresSerializer(serializers.Serializer[Any]):
    """Devices that were busy for less than `busy_percent` of the last `window_minutes` are idle; `grace_minutes` later their job pauses."""

    window_minutes = Whole(min_value=1, max_value=rules.MOST_MINUTES)
    busy_percent = Whole(min_value=1, max_value=rules.MOST_PERCENT)
    grace_minutes = Whole(min_value=1, max_value=rules.MOST_MINUTES)


class ClassFiguresSerializer(FiguresSerializer):
    """The figures of the platform for a class of device."""

    device_class = serializers.CharField()


class IdleRuleSerializer(serializers.Serializer[Any]):
    """The rules for the work of an organisation: its own, which is for all classes, else the platform's."""

    own = FiguresSerializer(allow_null=True)
    platform = FiguresSerializer(help_text="for each class of device that is not in `by_class`")
    by_class = ClassFiguresSerializer(many=True)


class IdleRuleView(ApiView):
    """When the devices of an organisation's work count as idle."""

    permissions = {"GET": "jobs.view", "PUT": "quotas.manage", "DELETE": "quotas.manage"}

    @extend_schema(responses=IdleRuleSerializer)
    def get(self, request: Request) -> Response:
        """Return the organisation's own rule, if it has one, and those of the platform, which are in force without one."""
        return self._answer()

    @extend_schema(request=FiguresSerializer, responses=IdleRuleSerializer)
    def put(self, request: Request) -> Response:
        """Set the organisation's own rule. It counts from the next look on, in a minute; warnings keep the time of their stop."""
        figures = rules.Figures(**checked(FiguresSerializer(data=request.data)))
        rules.set_own(actor=self.actor, figures=figures)
        return self._answer()

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Return to the rules of the platform."""
        rules.set_own(actor=self.actor, figures=None)
        return Response(status=204)

    def _answer(self) -> Response:
        found = rules.rules()
        by_class = [
            {"device_class": name, **FiguresSerializer(one).data} for name, one in found.by_class.items() if name
        ]
        answer = {"own": found.own, "platform": found.platform, "by_class": by_class}
        return Response(IdleRuleSerializer(answer).data)


class PoolRuleSerializer(FiguresSerializer):
    """The rule of a class of device, or with an empty class that of all others; who set it, and when."""

    device_class = serializers.CharField()
    set_by = serializers.CharField()
    set_at = serializers.DateTimeField()


class NewPoolRuleSerializer(FiguresSerializer, ReasonSerializer):
    """A rule to set."""

    device_class = serializers.CharField(max_length=rules.CLASS_CHARS, allow_blank=True)


class PoolRuleOffSerializer(ReasonSerializer):
    """The class whose rule is to be removed."""

    device_class = serializers.CharField(max_length=rules.CLASS_CHARS, allow_blank=True)


class PoolIdleRules(OperatorView):
    """When devices count as idle, for organisations without a rule of their own."""

    permissions: ClassVar = {"GET": "fleet.view", "PUT": "fleet.manage"}

    @extend_schema(operation_id="idle_rules_list", responses=page_of(PoolRuleSerializer))
    def get(self, request: Request) -> Response:
        """List the rules that were set. Without any, devices busy for less than 5 % of 30 minutes are idle, and their job pauses 30 minutes later."""
        return self.whole(rules.pool_rules(), PoolRuleSerializer)

    @extend_schema(operation_id="idle_rules_set", request=NewPoolRuleSerializer, responses=page_of(PoolRuleSerializer))
    def put(self, request: Request) -> Response:
        """Set the rule of a class of device, or with an empty class that of all others. It counts from the next look on."""
        data = checked(NewPoolRuleSerializer(data=request.data))
        name, reason = data.pop("device_class"), data.pop("reason")
        rules.set_pool(operator=self.operator, device_class=name, figures=rules.Figures(**data), reason=reason)
        return self.get(request)


class PoolIdleRuleRemoved(OperatorView):
    """Removes a rule."""

    permissions: ClassVar = {"POST": "fleet.manage"}

    @extend_schema(request=PoolRuleOffSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Remove the rule of a class of device, which then has that of all classes."""
        data = checked(PoolRuleOffSerializer(data=request.data))
        rules.remove_pool(operator=self.operator, **data)
        return Response(status=204)
