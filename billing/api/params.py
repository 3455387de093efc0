"""Parameters shared by billing's endpoints, and validation of request bodies."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

PAGE = [OpenApiParameter("cursor", str), OpenApiParameter("limit", int)]


def checked(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    """Return validated data or raise with every field's messages."""
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return data
