"""Shapes that several of the console's endpoints take."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class ReasonSerializer(serializers.Serializer[Any]):
    """Why, for the operator log."""

    reason = serializers.CharField(max_length=400)
