"""Fields of a body that can be read one way only: plain numbers, and times that say where on Earth they are."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from rest_framework import serializers

from tenants.errors import Invalid
from tenants.parsing import parse_moment

# Python also reads 1_0 as ten, and digits of every script: nobody who types them into a price means that.
NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*|\s*[+-]?\.\d+([eE][+-]?\d+)?\s*", re.ASCII)


def is_plain_number(text: str) -> bool:
    """Return whether a text is a number of digits 0 to 9, with one decimal point and an exponent at most."""
    return NUMBER.fullmatch(text) is not None


class Amount(serializers.DecimalField):
    """A decimal number."""

    def to_internal_value(self, data: Any) -> Any:
        """Read a number, or a text that is plainly one."""
        if isinstance(data, str) and not is_plain_number(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number."""

    def to_internal_value(self, data: Any) -> Any:
        """Read a number, or a text that is plainly one."""
        if isinstance(data, str) and not is_plain_number(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """A time with its offset: one without would be read in whichever zone the reader thinks of."""

    def to_internal_value(self, value: Any) -> datetime:
        """Read an RFC 3339 time."""
        if not isinstance(value, str):
            self.fail("invalid", format="2026-11-01T00:00:00Z")
        try:
            return parse_moment(value, "time")
        except Invalid as wrong:
            raise serializers.ValidationError(wrong.fields["time"]) from None
