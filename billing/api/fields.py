"""How billing's answers write what other answers hold too: money, quantities, prices, hashes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.money import Money, shown
from tenants.web.body_fields import Amount


class MoneySerializer(serializers.Serializer[Any]):
    """An amount of one currency; the amount is a string."""

    amount = serializers.CharField()
    currency = serializers.CharField(max_length=3)

    def to_representation(self, instance: Money) -> dict[str, str]:
        """Answer money."""
        return instance.json()


class Quantity(serializers.CharField):
    """How much of something, answered in plain digits: at least six decimals."""

    def to_representation(self, value: Any) -> str:
        """Answer a number."""
        return shown(value)


class UnitAmount(Amount):
    """A price, answered with at least six decimals."""

    def to_representation(self, value: Any) -> str:
        """Answer a number."""
        return shown(value)


class Start(serializers.CharField):
    """When a sum begins."""

    def to_representation(self, value: Any) -> str:
        """Answer an hour or a day."""
        return str(value.isoformat())


class Key(serializers.CharField):
    """A hash, answered in hexadecimal digits."""

    def to_representation(self, value: Any) -> str:
        """Answer bytes."""
        return bytes(value).hex()
