"""The peer's routes: one event by serializer and `save`, or a list by `many=True` and `bulk_create`."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.plain_usage.models import Event

FIELDS = ["key", "meter", "subject", "at", "quantity"]


class EventSerializer(serializers.ModelSerializer[Event]):
    """One event; that its key is new is checked first, as REST framework does by default."""

    class Meta:
        model = Event
        fields = FIELDS


class Together(serializers.ListSerializer[Any]):
    """Stores a list by one statement, in which known keys are skipped."""

    def create(self, validated_data: Any) -> Any:
        """Insert the rows."""
        return Event.objects.bulk_create([Event(**row) for row in validated_data], ignore_conflicts=True)


class OfMany(serializers.ModelSerializer[Event]):
    """An event of a list."""

    class Meta:
        model = Event
        fields = FIELDS
        list_serializer_class = Together
        extra_kwargs: ClassVar = {"key": {"validators": []}}


class Events(APIView):
    """Events are posted here."""

    def get(self, request: Request) -> Response:
        """Say that the server is ready."""
        return Response({})

    def post(self, request: Request) -> Response:
        """Store one event, or a list."""
        many = isinstance(request.data, list)
        sent: Any = OfMany(data=request.data, many=True) if many else EventSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        sent.save()
        return Response(status=201)


urlpatterns = [path("events/", Events.as_view())]
