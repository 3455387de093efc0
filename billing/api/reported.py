"""REST endpoints for reported usage: requests, senders, voiding, review, and sender limits."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.api import reported_serializers as forms
from billing.models.outside import STATES, WAITING
from billing.money import Money
from billing.reported import reviews, sender_limits, voids
from tenants.errors import Invalid
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class UsageBatches(ApiView):
    """Requests that reported usage."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="usage_batches_list", parameters=PAGE, responses=page_of(forms.BatchSerializer))
    def get(self, request: Request) -> Response:
        """List requests with their senders, newest first."""
        rows = queries.usage_batches(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, forms.BatchSerializer, lambda row: (row.id,))


class UsageBatch(ApiView):
    """One request that reported usage."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(parameters=PAGE, responses=forms.BatchEventsSerializer)
    def get(self, request: Request, batch_id: UUID) -> Response:
        """Return one request and a page of its counted events."""
        batch = queries.usage_batch(batch_id)
        rows = queries.batch_events(batch, after=self.before(bytes.fromhex), limit=self.page_size())
        answer = self.paginated(rows, forms.ReportedEventSerializer, lambda row: (row.key.hex(),))
        return Response({"batch": forms.BatchSerializer(batch).data, **answer.data})


class UsageBatchVoid(ApiView):
    """Void one request."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=forms.ReasonSerializer, responses=forms.BatchSerializer)
    def post(self, request: Request, batch_id: UUID) -> Response:
        """Void the counted events of a request, and reject those that wait. Its ids stay used."""
        data = checked(forms.ReasonSerializer(data=request.data))
        voids.void_batch(actor=self.actor, batch_id=batch_id, reason=data["reason"])
        return Response(forms.BatchSerializer(queries.usage_batch(batch_id)).data)


class UsageVoid(ApiView):
    """Void single events."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=forms.VoidSerializer, responses=forms.VoidedSerializer)
    def post(self, request: Request) -> Response:
        """Void events by (`source`, `id`), all or none. 409 `usage_voided` if one is already voided."""
        data = checked(forms.VoidSerializer(data=request.data))
        events = [(one["source"], one["id"]) for one in data["events"]]
        amount = voids.void_events(actor=self.actor, events=events, reason=data["reason"])
        voided = {"voided": len(set(events)), "amount": Money(amount, queries.tenant_today().currency)}
        return Response(forms.VoidedSerializer(voided).data)


class HeldUsage(ApiView):
    """Reported usage that is not counted."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="usage_held_list",
        parameters=[*PAGE, OpenApiParameter("state", str, enum=STATES, description="waiting unless given")],
        responses=page_of(forms.HeldSerializer),
    )
    def get(self, request: Request) -> Response:
        """List events that wait for review, or were accepted or rejected, newest first."""
        state = request.query_params.get("state", WAITING)
        if state not in STATES:
            raise Invalid(fields={"state": [f"Choose one of {', '.join(STATES)}."]})
        rows = queries.held_events(state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, forms.HeldSerializer, lambda row: (row.id,))


class HeldUsageDecision(ApiView):
    """Accept or reject waiting events."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=forms.DecisionSerializer, responses=forms.DecidedSerializer)
    def post(self, request: Request) -> Response:
        """Count events at the prices of their time, or reject them, all or none."""
        data = checked(forms.DecisionSerializer(data=request.data))
        accept = data["decision"] == "accept"
        done = reviews.decide(actor=self.actor, event_ids=data["events"], accept=accept, reason=data["reason"])
        return Response(forms.DecidedSerializer(done).data)


class UsageLimits(ApiView):
    """Daily limits of each sender, per UTC day."""

    permissions = {"GET": "invoices.view", "PUT": "budgets.manage"}

    @extend_schema(operation_id="usage_limits_retrieve", responses=forms.LimitsSerializer)
    def get(self, request: Request) -> Response:
        """Return the limits."""
        return Response(forms.LimitsSerializer(sender_limits.limits()).data)

    @extend_schema(request=forms.NewLimitsSerializer, responses=forms.LimitsSerializer)
    def put(self, request: Request) -> Response:
        """Set the limits."""
        data = checked(forms.NewLimitsSerializer(data=request.data))
        return Response(forms.LimitsSerializer(sender_limits.set_limits(actor=self.actor, **data)).data)
