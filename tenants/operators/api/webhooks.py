"""REST endpoints of the platform's webhooks, and of the emails that an operator wants."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.models import DeliveryState
from tenants.operators.api.base import OWN, OperatorView
from tenants.operators.platform_events import catalogue, choices, webhooks
from tenants.operators.platform_events.queries import PLATFORM
from tenants.parsing import parse_choice
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.webhooks.shapes import DeliverySerializer, EventTypeSerializer, NewWebhookSerializer, WebhookSerializer

MANAGE = webhooks.MANAGE


class EmailChoiceSerializer(serializers.Serializer[Any]):
    """Whether you get emails about a type of platform event."""

    type = serializers.CharField(max_length=40)
    title = serializers.CharField(read_only=True)
    wanted = serializers.BooleanField()


class PlatformWebhooks(OperatorView):
    """Addresses that receive platform events."""

    permissions: ClassVar = {"GET": MANAGE, "POST": MANAGE}
    shown_once: ClassVar = frozenset({"secret"})

    @extend_schema(operation_id="webhooks_list", responses=page_of(WebhookSerializer))
    def get(self, request: Request) -> Response:
        """List the platform's webhooks by name."""
        return self.whole(PLATFORM.webhooks(), WebhookSerializer)

    @extend_schema(request=WebhookSerializer, responses={201: NewWebhookSerializer})
    def post(self, request: Request) -> Response:
        """Create a webhook; the response holds its signing secret, once."""
        data = checked(WebhookSerializer(data=request.data))
        data.pop("enabled", None)
        return _with_secret(webhooks.create(operator=self.operator, **data))


class OnePlatformWebhook(OperatorView):
    """An address that receives platform events."""

    permissions: ClassVar = {"GET": MANAGE, "PATCH": MANAGE, "DELETE": MANAGE}

    @extend_schema(responses=WebhookSerializer)
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Return the webhook."""
        return Response(WebhookSerializer(PLATFORM.webhook(webhook_id)).data)

    @extend_schema(request=WebhookSerializer, responses=WebhookSerializer)
    def patch(self, request: Request, webhook_id: UUID) -> Response:
        """Change the webhook; omitted fields stay. Enabling one that was disabled begins without failures."""
        data = checked(WebhookSerializer(data=request.data, partial=True))
        webhooks.change(operator=self.operator, webhook_id=webhook_id, **data)
        return Response(WebhookSerializer(PLATFORM.webhook(webhook_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """Delete the webhook with its deliveries; what waits is not sent."""
        webhooks.delete(operator=self.operator, webhook_id=webhook_id)
        return Response(status=204)


class PlatformWebhookSecret(OperatorView):
    """The signing secret of a webhook."""

    permissions: ClassVar = {"POST": MANAGE}
    shown_once: ClassVar = frozenset({"secret"})

    @extend_schema(request=None, responses={201: NewWebhookSerializer})
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Replace the secret; the previous one signs beside it for 24 hours."""
        return _with_secret(webhooks.rotate_secret(operator=self.operator, webhook_id=webhook_id))


class PlatformWebhookTest(OperatorView):
    """A test of a webhook."""

    permissions: ClassVar = {"POST": MANAGE}

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Send an event of type `webhook.test`, once, within seconds."""
        row = webhooks.send_test(operator=self.operator, webhook_id=webhook_id)
        return Response(DeliverySerializer(PLATFORM.delivery(webhook_id, row.id)).data, status=202)


class PlatformWebhookTypes(OperatorView):
    """Types of platform events."""

    permissions: ClassVar = {"GET": MANAGE}

    @extend_schema(responses=page_of(EventTypeSerializer))
    def get(self, request: Request) -> Response:
        """List the types of platform events that webhooks choose."""
        return self.whole(catalogue.types(), EventTypeSerializer)


class PlatformDeliveries(OperatorView):
    """What was sent to a webhook."""

    permissions: ClassVar = {"GET": MANAGE}

    @extend_schema(
        parameters=[OpenApiParameter("state", str, enum=DeliveryState.values, description="Only this state"), *PAGE],
        responses=page_of(DeliverySerializer),
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """List the deliveries of the last 30 days, newest first, with their attempts."""
        state = parse_choice(request.query_params.get("state", ""), "state", DeliveryState.values)
        PLATFORM.webhook(webhook_id)
        rows = PLATFORM.deliveries(webhook_id, state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, DeliverySerializer, lambda row: [row.id])


class PlatformReplay(OperatorView):
    """A delivery that is sent again."""

    permissions: ClassVar = {"POST": MANAGE}

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, webhook_id: UUID, delivery_id: UUID) -> Response:
        """Send an ended delivery again, within seconds, with the same event id."""
        webhooks.replay(operator=self.operator, webhook_id=webhook_id, delivery_id=delivery_id)
        return Response(DeliverySerializer(PLATFORM.delivery(webhook_id, delivery_id)).data, status=202)


class EmailChoices(OperatorView):
    """Which platform events you get emails about."""

    permissions: ClassVar = {"GET": OWN, "PUT": OWN}

    @extend_schema(responses=page_of(EmailChoiceSerializer))
    def get(self, request: Request) -> Response:
        """List the types that your roles read, and whether you get emails: about what you act on, unless you chose otherwise."""
        return self.whole(choices.chosen(self.operator), EmailChoiceSerializer)

    @extend_schema(request=EmailChoiceSerializer, responses=EmailChoiceSerializer)
    def put(self, request: Request) -> Response:
        """Choose for one type; it applies to new events. A key cannot choose."""
        data = checked(EmailChoiceSerializer(data=request.data))
        choices.choose(self.operator, {data["type"]: data["wanted"]})
        (row,) = [one for one in choices.chosen(self.operator) if one.type == data["type"]]
        return Response(EmailChoiceSerializer(row).data)


def _with_secret(made: webhooks.NewPlatformWebhook) -> Response:
    row = PLATFORM.webhook(made.webhook.id)
    shown = {name: getattr(row, name) for name in type(row).__dataclass_fields__}
    return Response(NewWebhookSerializer(shown | {"secret": made.secret}).data, status=201)
