"""Serializers of quotes, and their conversion from job requests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing.api.fields import MoneySerializer
from billing.money import Money
from billing.pricing.quotes import Estimate
from billing.rating.flat import charge
from compute.jobs.job_request import JobRequest
from compute.queries.spot import NOTICE, SpotOffer


class Rounded(serializers.FloatField):
    """A number that is answered with so many decimals."""

    def __init__(self, *, decimals: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decimals = decimals

    def to_representation(self, value: Any) -> Any:
        """Answer a number."""
        return round(value, self.decimals)


class StartUpSerializer(serializers.Serializer[Any]):
    """Start-up time of the program before its work begins, billed like the rest."""

    seconds = Rounded(decimals=1)
    cost = MoneySerializer()


class BasedOnSerializer(serializers.Serializer[Any]):
    """Basis of a quote. Of the newest `of` similar runs with a quote, `within` ended inside its range."""

    source = serializers.CharField(help_text="own, installation or defaults")  # type: ignore[assignment]
    runs = serializers.IntegerField(allow_null=True, help_text="null of others’ runs: how much they do is theirs")
    within = serializers.IntegerField()
    of = serializers.IntegerField()


class JobQuoteSerializer(serializers.Serializer[Any]):
    """The quote of a job, start-up included. `within`: whether its bill lies in the range; null before its end."""

    least = MoneySerializer()
    most = MoneySerializer()
    least_seconds = serializers.IntegerField(source="least_s")
    most_seconds = serializers.IntegerField(source="most_s")
    start_up_seconds = Rounded(source="start_s", decimals=1)
    within = serializers.BooleanField(allow_null=True)


class LimitAfterSerializer(serializers.Serializer[Any]):
    """A limit that binds the launch. One that does not fit makes the job wait (`waits`), or refuses it."""

    resource = serializers.CharField()
    title = serializers.CharField()
    scope = serializers.CharField(help_text="tenant, project:<id> or person:<id>")
    period = serializers.CharField(help_text="at_once or month")
    unit = serializers.CharField(allow_blank=True, help_text="Of the figures; empty for a number of things.")
    limit = serializers.FloatField()
    in_use = serializers.FloatField()
    needed = serializers.FloatField()
    left_after = serializers.FloatField()
    fits = serializers.BooleanField()
    waits = serializers.BooleanField()


class SpotOfferSerializer(serializers.Serializer[Any]):
    """A spot launch beside the same one on demand."""

    on_demand_unit_amount = MoneySerializer(source="unit_amount", help_text="What a second costs on demand.")
    on_demand_typical = MoneySerializer(source="typical", help_text="What the usual run costs on demand.")
    saving = MoneySerializer(help_text="How much less the usual run costs.")
    notice = serializers.SerializerMethodField(help_text="That it may be stopped, and what happens then.")

    def get_notice(self, offer: SpotOffer) -> str:
        """Answer what spot means."""
        return NOTICE


class QuoteSerializer(serializers.Serializer[Any]):
    """Expected cost of a job; a launch with the same body holds money at this price until `expires_at`."""

    id = serializers.UUIDField()
    typical = MoneySerializer(help_text="The usual bill: until a limit of the job's own stops it, where one would.")
    least = MoneySerializer(help_text="Nine bills of ten lie between `least` and `most`.")
    most = MoneySerializer()
    worst = MoneySerializer(help_text="What the launch holds: all of `max_seconds`, and the seconds of a stop.")
    unit_amount = MoneySerializer()
    price_version = serializers.UUIDField()
    typical_seconds = serializers.IntegerField(help_text="What `typical` pays for; so with least and most.")
    least_seconds = serializers.IntegerField()
    most_seconds = serializers.IntegerField()
    max_seconds = serializers.IntegerField(
        help_text="As asked for; else three times `most_seconds`, three minutes at least."
    )
    needed = MoneySerializer(help_text="What a typical run costs if no limit of its own stops it.")
    needed_seconds = serializers.IntegerField(help_text="What a typical run takes if no limit of its own stops it.")
    stopped_by = serializers.CharField(  # an enumeration of the description cannot hold null
        allow_null=True,
        help_text="The limit that would probably stop a typical run: `max_cost` or `max_seconds`; null where none would.",
    )
    start_up = StartUpSerializer(help_text="The program's own start-up, in all of these figures.")
    based_on = BasedOnSerializer()
    expected_wait_s = serializers.FloatField(allow_null=True)
    spot = SpotOfferSerializer(
        allow_null=True, help_text="What the tier spot saves, and costs; null on demand, and without a price on demand."
    )
    budget_left_after = MoneySerializer(allow_null=True)
    quota_left_after = serializers.IntegerField(
        allow_null=True, help_text="Devices that may still be held at once; null without a limit."
    )
    quotas = LimitAfterSerializer(many=True)
    expires_at = serializers.DateTimeField()


def start_up(order: JobRequest, priced: Estimate) -> dict[str, Any]:
    """Return the start-up as a line of a quote."""
    seconds = order.forecast.start_s
    return {"seconds": seconds, "cost": priced.cost_of(Decimal(round(seconds, 3)))}


def needs(order: JobRequest, priced: Estimate) -> dict[str, Any]:
    """Return what a typical run takes and costs if nothing stops it, and which limit of the job's own would."""
    cost = Money(charge(Decimal(order.needed_s), priced.second_amount), priced.currency)
    stopped_by = order.stopped_by(priced.second_amount)
    return {"needed": cost, "needed_seconds": order.needed_s, "stopped_by": stopped_by}


def based_on(order: JobRequest) -> dict[str, Any]:
    """Return the basis of a quote, and the accuracy of earlier ranges."""
    found = order.forecast
    runs = None if found.source == "installation" else found.runs
    return {"source": found.source, "runs": runs, "within": order.kept.within, "of": order.kept.of}
