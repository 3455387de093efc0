"""Unambiguous body fields: plain numbers, and times with an offset; and bodies checked at once."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from rest_framework import serializers

from tenants.errors import Invalid
from tenants.parsing import parse_moment

# Python also parses 1_0 as ten, and digits of every script, which nobody means in a price.
NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*|\s*[+-]?\.\d+([eE][+-]?\d+)?\s*", re.ASCII)


def is_plain_number(text: str) -> bool:
    """Return whether a text is a number of digits 0 to 9, with at most one decimal point and an exponent."""
    return NUMBER.fullmatch(text) is not None


def checked(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    """Return validated data or raise with every field's messages."""
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return data


class Amount(serializers.DecimalField):
    """A decimal number."""

    def to_internal_value(self, data: Any) -> Any:
        """Parse a number, or a text that is plainly one."""
        if isinstance(data, str) and not is_plain_number(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number."""

    def to_internal_value(self, data: Any) -> Any:
        """Parse a number, or a text that is plainly one."""
        if isinstance(data, str) and not is_plain_number(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """A time with its offset; without one it would depend on the reader's zone."""

    def to_internal_value(self, value: Any) -> datetime:
        """Parse an RFC 3339 time."""
        if not isinstance(value, str):
            self.fail("invalid", format="2026-11-01T00:00:00Z")
        try:
            return parse_moment(value, "time")
        except Invalid as wrong:
            raise serializers.ValidationError(wrong.fields["time"]) from None


class TextOrNull(serializers.CharField):
    """A text that is answered as null where there is none."""

    def to_representation(self, value: str) -> Any:
        """Answer a text."""
        return value or None
