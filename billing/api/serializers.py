"""Serializers of billing's API: what it accepts, and the responses that it makes of the rows of its queries."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.fields import MoneySerializer, Quantity, Start, UnitAmount
from billing.api.invoice_serializers import LineSerializer
from billing.budgets.alerts import DEFAULT_ALERTS
from billing.models.budgets import AT_LIMIT
from billing.queries import SpendRow
from billing.rating.aggregation import AGGREGATIONS, SUM
from billing.rating.calendar import MONTHS
from tenants.web.body_fields import Amount, Moment, TextOrNull, Whole

HOW = (
    "`sum` adds quantities; `count` counts events; `max` and `latest` count the highest or last value of a month by resource and "
    "dimensions; `unique` counts the labels of a month; `time_weighted` counts values times hours. Fixed once there is usage"
)


class MeterSerializer(serializers.Serializer[Any]):
    """A meter and the type of the events that feed it."""

    id = serializers.UUIDField()
    key = serializers.CharField()
    title = serializers.CharField()
    unit = serializers.CharField()
    event_type = serializers.CharField()
    aggregation = serializers.ChoiceField(choices=AGGREGATIONS)


class NewMeterSerializer(serializers.Serializer[Any]):
    """A meter to define; the key defaults to one made from the event type."""

    key = serializers.CharField(max_length=60, required=False)
    title = serializers.CharField(max_length=120)
    unit = serializers.CharField(max_length=30, help_text="one unit in small letters, such as request; second for time")
    event_type = serializers.CharField(max_length=120)
    aggregation = serializers.ChoiceField(choices=AGGREGATIONS, default=SUM, help_text=HOW)


class MeterChangeSerializer(serializers.Serializer[Any]):
    """How a meter without usage is to make a quantity of its events."""

    aggregation = serializers.ChoiceField(choices=AGGREGATIONS, help_text=HOW)


class EventDataSerializer(serializers.Serializer[Any]):
    """How much was used; other keys are dimensions."""

    quantity = serializers.DecimalField(
        max_digits=19,
        decimal_places=6,
        min_value=0,
        coerce_to_string=False,
        required=False,
        help_text="greater than 0; of `max`, `latest` and `time_weighted` meters the value, also 0; `count` and `unique` need none",
    )
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=200, required=False, help_text="what a `unique` meter counts once"
    )
    project = serializers.CharField(required=False, help_text="short name or id; `default` unless given")


class EventSerializer(serializers.Serializer[Any]):
    """A CloudEvent that reports usage."""

    specversion = serializers.ChoiceField(choices=["1.0"])
    id = serializers.CharField(max_length=200)
    source = serializers.CharField(max_length=120)  # type: ignore[assignment]
    type = serializers.CharField(max_length=120, help_text="the event type of a meter")
    subject = serializers.CharField(max_length=200, help_text="the resource that was used")
    time = serializers.DateTimeField(required=False, help_text="now unless given; at most five minutes ahead")
    data = EventDataSerializer()  # type: ignore[assignment]


class HeldNowSerializer(serializers.Serializer[Any]):
    """An event that is stored and not counted."""

    index = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]
    id = serializers.CharField()
    reason = serializers.CharField()
    state = serializers.ChoiceField(choices=["waiting", "rejected"])


class TakenSerializer(serializers.Serializer[Any]):
    """Result of a request with events that are not counted."""

    accepted = serializers.IntegerField(help_text="events that are new and counted")
    held = HeldNowSerializer(many=True)


class SumSerializer(serializers.Serializer[Any]):
    """A sum, with one field for each requested group."""

    start = Start(source="starts", allow_null=True, help_text="hour, local day or first day of the local month")
    unit = TextOrNull(allow_null=True, help_text="null where the sum covers several units")
    quantity = Quantity(allow_null=True, help_text="what is charged, in the unit; null without one unit")
    measured = Quantity(allow_null=True, help_text="what ran, charged or not; null without one unit")
    cost = MoneySerializer()

    def to_representation(self, instance: SpendRow) -> dict[str, Any]:
        """Answer a sum."""
        named = {"project_name": instance.project_name} if "project" in instance.keys else {}
        named |= {f"{group}_name": name for group, name in instance.names.items()}
        return {**instance.keys, **named, **super().to_representation(instance)}


class PriceSerializer(serializers.Serializer[Any]):
    """The price of one unit of a meter for usage that carries all dimensions."""

    meter = serializers.CharField(max_length=60)
    dims = serializers.DictField(child=serializers.CharField(max_length=200), required=False, default=dict)
    unit_amount = UnitAmount(max_digits=24, decimal_places=12, min_value=0)


class BookPriceSerializer(PriceSerializer):
    """A price of a book, with the list price that it is a discount on."""

    list_amount = UnitAmount(
        max_digits=24,
        decimal_places=12,
        min_value=0,
        required=False,
        allow_null=True,
        default=None,
        help_text="null: the price is the list price",
    )


class VersionSerializer(serializers.Serializer[Any]):
    """A version of a price book; `prices` is the complete list."""

    id = serializers.UUIDField(read_only=True)
    number = serializers.IntegerField(read_only=True)
    state = serializers.CharField(read_only=True, help_text="coming, in_force or past")
    effective_at = Moment(
        required=False, help_text="at least five minutes ahead, which is the default, and before the year 9000"
    )
    published_at = serializers.DateTimeField(read_only=True)
    published_by = serializers.CharField(read_only=True)
    note = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")
    prices = BookPriceSerializer(many=True, allow_empty=False)


class PriceBookSerializer(serializers.Serializer[Any]):
    """A price book with its coming versions, the one in force and the newest past ones."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    currency = serializers.CharField()
    versions = VersionSerializer(many=True)


class ContractSerializer(serializers.Serializer[Any]):
    """The contract between the organisation and the operator; it runs from the local day `starts_on` until before `ends_on`."""

    id = serializers.UUIDField()
    state = serializers.CharField(help_text="coming, in_force or past")
    price_book = serializers.UUIDField(source="book_id")
    currency = serializers.CharField()
    starts_on = serializers.DateField()
    ends_on = serializers.DateField(allow_null=True)
    payment_days = serializers.IntegerField()
    billing_name = serializers.CharField()
    billing_address = serializers.CharField()
    billing_email = serializers.CharField()
    tax_number = serializers.CharField()
    tax_rate = serializers.DecimalField(max_digits=5, decimal_places=2, allow_null=True, help_text="per cent")
    country = serializers.CharField()
    grace_days = serializers.IntegerField(help_text="days after a month's end during which late usage is awaited")
    terms = serializers.DictField(
        help_text="What adjusts a period's bill: models, discounts, commitments, and the like"
    )


class BudgetSerializer(serializers.Serializer[Any]):
    """How much a project, work with a tag, a person or the whole organisation may spend in each of its periods."""

    id = serializers.UUIDField(read_only=True)
    scope = serializers.CharField(
        max_length=200,
        help_text="`tenant`, the id or short name of a project, `tag:name=value`, or the id of a person (`user_id` of `/members/`)",
    )
    amount = Amount(max_digits=27, decimal_places=12, min_value=0)
    period = serializers.ChoiceField(
        choices=list(MONTHS),
        required=False,
        default="month",
        help_text="calendar month, quarter or year, in local time",
    )
    alerts = serializers.ListField(
        child=Whole(min_value=1, max_value=100),
        required=False,
        default=list(DEFAULT_ALERTS),
        max_length=10,
    )
    at_limit = serializers.ChoiceField(choices=AT_LIMIT, required=False, default="notify")


class BudgetChangeSerializer(serializers.Serializer[Any]):
    """The changeable fields of a budget."""

    amount = Amount(max_digits=27, decimal_places=12, min_value=0, required=False)
    alerts = serializers.ListField(child=Whole(min_value=1, max_value=100), required=False, max_length=10)
    at_limit = serializers.ChoiceField(choices=AT_LIMIT, required=False)


class BudgetRequestSerializer(serializers.Serializer[Any]):
    """A request for a higher budget; with `this_month` for its running month, quarter or year only."""

    amount = Amount(max_digits=27, decimal_places=12, min_value=0)
    reason = serializers.CharField(max_length=500)
    this_month = serializers.BooleanField(required=False, default=False)


class BudgetStatusSerializer(serializers.Serializer[Any]):
    """A budget and its use in its running period."""

    id = serializers.UUIDField()
    scope = serializers.CharField()
    project_name = serializers.CharField(source="of_project")
    name = serializers.CharField(
        source="project_name", help_text="of the project, tag or person; empty for the organisation"
    )
    amount = MoneySerializer(source="limit")
    period = serializers.ChoiceField(choices=list(MONTHS), source="length")
    alerts = serializers.ListField(child=serializers.IntegerField())
    at_limit = serializers.ChoiceField(choices=AT_LIMIT)
    month = serializers.DateField(source="period", help_text="first day of the running month, quarter or year")
    held = MoneySerializer()
    spent = MoneySerializer()
    left = MoneySerializer()
    used_percent = serializers.IntegerField()
    forecast = MoneySerializer(help_text="the period's cost if spending goes on at the same pace")
    state = serializers.CharField(help_text="ok, alert or exhausted")


class BudgetAlertSerializer(serializers.Serializer[Any]):
    """A crossed threshold; each is reported once a period."""

    id = serializers.UUIDField()
    month = serializers.DateField(source="period")
    percent = serializers.IntegerField()
    spent = MoneySerializer()
    amount = MoneySerializer(source="limit", help_text="the budget at that time")
    raised_at = serializers.DateTimeField()


class ShareSerializer(serializers.Serializer[Any]):
    """The share of one attempt, or of a resource without one, in a line."""

    job = serializers.UUIDField(source="job_id", allow_null=True)
    attempt = serializers.UUIDField(source="attempt_id", allow_null=True)
    resource = serializers.CharField()
    measured = Quantity()
    quantity = Quantity()
    intervals = serializers.IntegerField()
    exact = MoneySerializer()


class IntervalSerializer(serializers.Serializer[Any]):
    """One stored segment of usage, or its adjustment."""

    id = serializers.CharField()
    kind = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    measured = Quantity()
    quantity = Quantity(source="billable")
    excluded = Quantity(help_text="units that lay outside the hold and are charged with nothing")
    exact = MoneySerializer()
    resource = serializers.CharField()
    job = serializers.UUIDField(source="job_id", allow_null=True)
    attempt = serializers.UUIDField(source="attempt_id", allow_null=True)
    actor = serializers.CharField(help_text="who asked for it, or reported it from outside")
    source = serializers.CharField(help_text="the system that measured it")  # type: ignore[assignment]
    share = serializers.CharField(help_text="what part of a unit was used over its time, such as 1/2; 1 is a whole one")


class ExplanationSerializer(serializers.Serializer[Any]):
    """A line, the attempts that make it up, and a page of its intervals."""

    line = LineSerializer()
    shares = ShareSerializer(many=True)
    results = IntervalSerializer(many=True)
    next = serializers.CharField(allow_null=True)
