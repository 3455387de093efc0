"""REST endpoints of who issues invoices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import second_person as rule
from billing.api.invoice_serializers import PartySerializer
from billing.invoices import parties
from billing.invoices.reminders import LONGEST_DAYS, Step
from billing.models.settling import DUNNING_STEPS
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import checked


class ReminderStepSerializer(serializers.Serializer[Any]):
    """A reminder of unpaid invoices."""

    days = serializers.IntegerField(min_value=1, max_value=LONGEST_DAYS, help_text="after the due day")
    step = serializers.ChoiceField(choices=DUNNING_STEPS)


class NewSellerSerializer(ReasonSerializer):
    """Who issues invoices at once."""

    name = serializers.CharField(max_length=200)
    address = serializers.CharField(max_length=1000)
    country = serializers.CharField(required=False, default="", allow_blank=True, max_length=2)
    tax_number = serializers.CharField(required=False, default="", allow_blank=True, max_length=40)
    email = serializers.EmailField(required=False, default="", allow_blank=True)
    how_to_pay = serializers.CharField(required=False, default="", allow_blank=True, max_length=1000)
    sends_invoices = serializers.BooleanField(required=False, default=True, help_text="by email, when finalised")
    dunning = ReminderStepSerializer(many=True, required=False, help_text="without it the schedule stays")
    second_person = serializers.BooleanField(
        required=False,
        help_text="another operator approves finalising, voiding and crediting; without it the rule stays",
    )
    second_person_from = serializers.DictField(
        child=serializers.DecimalField(max_digits=18, decimal_places=4),
        required=False,
        help_text="amounts with tax by currency; in others every amount needs a second operator",
    )


class SellerSerializer(PartySerializer):
    """Who issues invoices, and whether they are sent by email when they are finalised."""

    sends_invoices = serializers.BooleanField()
    dunning = ReminderStepSerializer(many=True)
    second_person = serializers.BooleanField()
    second_person_from = serializers.DictField(child=serializers.CharField())


class Seller(OperatorView):
    """Who issues invoices."""

    permissions: ClassVar = {"GET": "invoices.view", "PUT": "seller.manage"}

    @extend_schema(responses=SellerSerializer)
    def get(self, request: Request) -> Response:
        """Return who issues invoices."""
        return _seller()

    @extend_schema(request=NewSellerSerializer, responses=SellerSerializer)
    def put(self, request: Request) -> Response:
        """Change who issues invoices at once; finalised ones keep what they name.

        It says where customers pay, so no key changes it: the operator of the session has entered password or second
        factor again within the last five minutes.
        """
        data = checked(NewSellerSerializer(data=request.data))
        self.prove()
        reason, sends, dunning = data.pop("reason"), data.pop("sends_invoices"), data.pop("dunning", None)
        second = rule.current()
        wanted = rule.SecondPerson(
            data.pop("second_person", second.wanted), data.pop("second_person_from", second.amounts)
        )
        with transaction.atomic():
            if wanted != second:
                rule.change(operator=self.operator, rule=wanted, reason=reason)
            parties.change_seller(
                operator=self.operator, party=parties.Party(**data), reason=reason, sends_invoices=sends
            )
            if dunning is not None:
                steps = [Step(**one) for one in dunning]
                parties.change_dunning(operator=self.operator, steps=steps, reason=reason)
        return _seller()


def _seller() -> Response:
    dunning = [step.stored() for step in parties.dunning_schedule()]
    second = rule.current()
    party = asdict(parties.current_seller()) | {
        "sends_invoices": parties.sends_invoices(),
        "dunning": dunning,
        "second_person": second.wanted,
        "second_person_from": {currency: f"{amount:f}" for currency, amount in second.amounts.items()},
    }
    return Response(SellerSerializer(party).data)
