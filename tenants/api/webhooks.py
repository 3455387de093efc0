"""REST endpoints of webhooks: addresses that receive events, what was delivered, secrets, tests and replays."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.standing import TakesAway
from tenants.models import DeliveryState
from tenants.parsing import parse_choice
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView
from tenants.webhooks import catalogue, webhooks
from tenants.webhooks.queries import OWN
from tenants.webhooks.shapes import DeliverySerializer, EventTypeSerializer, NewWebhookSerializer, WebhookSerializer

MANAGE = "webhooks.manage"


class AddressSerializer(serializers.Serializer[Any]):
    """The whole address of a webhook."""

    url = serializers.CharField(allow_null=True, help_text="null when a request is repeated")


class Webhooks(ApiView):
    """Addresses that receive events."""

    permissions = {"GET": MANAGE, "POST": MANAGE}
    shown_once = frozenset({"secret"})

    @extend_schema(operation_id="webhooks_list", responses=page_of(WebhookSerializer))
    def get(self, request: Request) -> Response:
        """List the webhooks by name."""
        return self.whole(OWN.webhooks(), WebhookSerializer)

    @extend_schema(request=WebhookSerializer, responses={201: NewWebhookSerializer})
    def post(self, request: Request) -> Response:
        """Create a webhook; the response holds its signing secret, once."""
        data = checked(WebhookSerializer(data=request.data))
        data.pop("enabled", None)
        return _with_secret(webhooks.create_webhook(actor=self.actor, **data), status=201)


class OneWebhook(ApiView):
    """An address that receives events."""

    permissions = {"GET": MANAGE, "PATCH": MANAGE, "DELETE": TakesAway(MANAGE)}

    @extend_schema(responses=WebhookSerializer)
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Return the webhook."""
        return Response(WebhookSerializer(OWN.webhook(webhook_id)).data)

    @extend_schema(request=WebhookSerializer, responses=WebhookSerializer)
    def patch(self, request: Request, webhook_id: UUID) -> Response:
        """Change the webhook; omitted fields stay. Enabling one that was disabled begins without failures."""
        data = checked(WebhookSerializer(data=request.data, partial=True))
        webhooks.change_webhook(actor=self.actor, webhook_id=webhook_id, **data)
        return Response(WebhookSerializer(OWN.webhook(webhook_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """Delete the webhook with its deliveries; what waits is not sent."""
        webhooks.delete_webhook(actor=self.actor, webhook_id=webhook_id)
        return Response(status=204)


class WebhookSecret(ApiView):
    """The signing secret of a webhook."""

    permissions = {"POST": MANAGE}
    shown_once = frozenset({"secret"})

    @extend_schema(request=None, responses={201: NewWebhookSerializer})
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Replace the secret; the previous one signs beside it for 24 hours."""
        return _with_secret(webhooks.rotate_secret(actor=self.actor, webhook_id=webhook_id), status=201)


class WebhookAddress(ApiView):
    """The address of a webhook."""

    permissions = {"POST": MANAGE}
    shown_once = frozenset({"url"})

    @extend_schema(request=None, responses=AddressSerializer)
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Reveal the whole address, with an entry in the audit log."""
        url = webhooks.reveal_address(actor=self.actor, webhook_id=webhook_id)
        return Response(AddressSerializer({"url": url}).data)


class WebhookTest(ApiView):
    """A test of a webhook."""

    permissions = {"POST": MANAGE}

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Send an event of type `webhook.test`, once and at once."""
        row = webhooks.send_test(actor=self.actor, webhook_id=webhook_id)
        return Response(DeliverySerializer(OWN.delivery(webhook_id, row.id)).data, status=202)


class WebhookTypes(ApiView):
    """Types of events."""

    permissions = {"GET": MANAGE}

    @extend_schema(responses=page_of(EventTypeSerializer))
    def get(self, request: Request) -> Response:
        """List the types of events that webhooks choose."""
        return self.whole(catalogue.types(), EventTypeSerializer)


class Deliveries(ApiView):
    """What was sent to a webhook."""

    permissions = {"GET": MANAGE}

    @extend_schema(
        parameters=[OpenApiParameter("state", str, enum=DeliveryState.values, description="Only this state"), *PAGE],
        responses=page_of(DeliverySerializer),
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """List the deliveries of the last 30 days, newest first, with their attempts."""
        state = parse_choice(request.query_params.get("state", ""), "state", DeliveryState.values)
        webhooks.check_reading(self.actor, webhook_id)
        rows = OWN.deliveries(webhook_id, state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, DeliverySerializer, lambda row: [row.id])


class Replay(ApiView):
    """A delivery that is sent again."""

    permissions = {"POST": MANAGE}

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, webhook_id: UUID, delivery_id: UUID) -> Response:
        """Send an ended delivery again, at once, with the same event id."""
        webhooks.replay(actor=self.actor, webhook_id=webhook_id, delivery_id=delivery_id)
        return Response(DeliverySerializer(OWN.delivery(webhook_id, delivery_id)).data, status=202)


def _with_secret(made: webhooks.NewWebhook, *, status: int) -> Response:
    row = OWN.webhook(made.webhook.id)
    shown = {name: getattr(row, name) for name in type(row).__dataclass_fields__}
    return Response(NewWebhookSerializer(shown | {"secret": made.secret}).data, status=status)
