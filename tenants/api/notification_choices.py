"""REST endpoint of what you are notified of, and by which ways."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.errors import Invalid, NotFound
from tenants.notifications import topics
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class NotificationChoiceSerializer(serializers.Serializer[Any]):
    """By which ways you are notified of a topic, in this organisation."""

    topic = serializers.CharField()
    title = serializers.CharField()
    bell = serializers.BooleanField()
    email = serializers.BooleanField()
    webhook = serializers.BooleanField(help_text="By webhooks of the organisation that receive `member.notified`.")


class WantedChoiceSerializer(serializers.Serializer[Any]):
    """Your choice for one topic; without any way you are not notified of it."""

    topic = serializers.CharField(max_length=60)
    bell = serializers.BooleanField()
    email = serializers.BooleanField()
    webhook = serializers.BooleanField(required=False, default=False)


class NotificationChoices(ApiView):
    """What you are notified of. Webhooks of the organisation are under `/webhooks/`."""

    permissions = {"GET": "tenant.view", "PUT": "tenant.view"}

    @extend_schema(responses=page_of(NotificationChoiceSerializer))
    def get(self, request: Request) -> Response:
        """List the topics with your ways: bell and email, unless you chose others or the topic is frequent."""
        return self.whole(self._rows(), NotificationChoiceSerializer)

    @extend_schema(request=WantedChoiceSerializer, responses=NotificationChoiceSerializer)
    def put(self, request: Request) -> Response:
        """Choose for one topic; it applies to new notifications."""
        data = checked(WantedChoiceSerializer(data=request.data))
        if data["topic"] not in {one.key for one in topics.topics()}:
            raise Invalid(fields={"topic": ["There is no such topic. GET lists them."]})
        topics.choose(self.actor, {data["topic"]: topics.Ways(data["bell"], data["email"], data["webhook"])})
        (row,) = [one for one in self._rows() if one["topic"] == data["topic"]]
        return Response(NotificationChoiceSerializer(row).data)

    def _rows(self) -> list[dict[str, Any]]:
        if self.actor.kind != "user" or self.actor.id is None:
            raise NotFound
        ways = topics.chosen(self.actor.id)
        return [
            {"topic": one.key, "title": one.title} | {way: getattr(ways[one.key], way) for way in topics.WAYS}
            for one in topics.topics()
        ]
