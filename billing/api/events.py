"""REST endpoints for usage reported as CloudEvents, and for the meters that count it."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.api import serializers as forms
from billing.metering import meters
from billing.reported.cloudevents import BATCH, SINGLE
from billing.reported.group_commit import GroupCommit
from billing.reported.ingest import LARGEST_BODY, MOST_EVENTS, Taken, TooManyEvents, ingest_together
from tenants.errors import Invalid
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView

#: Requests of one sender that this process answers together.
GROUPS: GroupCommit[list[Any], Taken] = GroupCommit(ingest_together, MOST_EVENTS)


def read_json(body: bytes) -> Any:
    """Return the value of a body; raise ParseError for invalid JSON, TooManyEvents for a body over the limit."""
    if len(body) > LARGEST_BODY:
        raise TooManyEvents
    try:
        return json.loads(body.decode(), parse_float=_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"it is not JSON: {type(error).__name__}") from None


def events_in(sent: Any, content_type: str) -> list[Any]:
    """Return the events of a body that was read. Raises Invalid for another shape than its type says, TooManyEvents."""
    kind = content_type.partition(";")[0].strip().lower()
    if isinstance(sent, dict) and kind != BATCH:
        events: list[Any] = [sent]
    elif isinstance(sent, list) and kind != SINGLE:
        events = sent
    else:
        raise Invalid(f"Send one event as an object ({SINGLE}), or several as an array ({BATCH}).")
    if len(events) > MOST_EVENTS:
        raise TooManyEvents
    return events


def response_for(taken: Taken) -> Response:
    """Return the response to a request whose events were all stored."""
    if not taken.held:
        return Response(status=204)
    return Response(forms.TakenSerializer(taken).data, status=202)


class EventParser(BaseParser):
    """JSON parser that keeps all digits of numbers. Text that cannot be stored is refused per event, not here."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the value; raise ParseError for invalid JSON, TooManyEvents for a body over the limit."""
        return read_json(stream.read(LARGEST_BODY + 1))


class SingleParser(EventParser):
    """Parser of a single event."""

    media_type = SINGLE


class BatchParser(EventParser):
    """Parser of an array of events."""

    media_type = BATCH


def _number(text: str) -> Decimal | str:
    """Return the number with all its digits; one out of range stays text, and its event is refused."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _no_number(text: str) -> Any:
    raise ValueError(text)


class Events(ApiView):
    """Usage reported from outside."""

    permissions = {"POST": "usage.ingest"}
    reads_any_field = True  # CloudEvents extensions have names of their own
    parser_classes = (SingleParser, BatchParser, EventParser)
    # Valid events stay stored when the response lists invalid ones.
    own_transaction = frozenset({"POST"})

    @extend_schema(
        request={SINGLE: forms.EventSerializer, BATCH: forms.EventSerializer(many=True)},
        responses={204: None, 202: forms.TakenSerializer},
    )
    def post(self, request: Request) -> Response:
        """Store usage as CloudEvents 1.0: one event, or a batch of up to 1,000 in 2 MB.

        A batch spans up to 5,000 quarter hours. `type` names the event type of a meter, `subject` the resource,
        `data.quantity` the amount; other keys of `data` are dimensions. A meter with the aggregation `max`, `latest` or
        `time_weighted` reads `data.quantity` as the value at that moment, one with `unique` reads `data.label`. The project is the extension `project` or
        `data.project`, else `default`. Each (`source`, `id`) counts once. 204: all are counted or were known. 202: all
        are stored, but those in `held` are not counted until a person accepts them, because they are older than 35
        days or have no matching price. 409 lists in `conflicts` ids known with other content, and in `refused`, as 400
        does, those that cannot be usage; all others are stored. 429: the sender has reached its daily limit; nothing
        is stored.
        """
        events = events_in(request.data, request.content_type or "")
        return response_for(GROUPS.answer(self.actor, events, len(events)))


class Meters(ApiView):
    """Meters of the organisation."""

    permissions = {"GET": "usage.view", "POST": "meters.manage"}

    @extend_schema(operation_id="meters_list", responses=page_of(forms.MeterSerializer))
    def get(self, request: Request) -> Response:
        """List meters by key."""
        return self.whole(queries.meters(), forms.MeterSerializer)

    @extend_schema(request=forms.NewMeterSerializer, responses={201: forms.MeterSerializer})
    def post(self, request: Request) -> Response:
        """Define a meter. Its reported usage waits for review until a version of the contract's price book names it."""
        data = checked(forms.NewMeterSerializer(data=request.data))
        made = meters.define(actor=self.actor, **data)
        stored = next(meter for meter in queries.meters() if meter.id == made.pk)
        return Response(forms.MeterSerializer(stored).data, status=201)


class OneMeter(ApiView):
    """One meter of the organisation."""

    permissions = {"PATCH": "meters.manage"}

    @extend_schema(request=forms.MeterChangeSerializer, responses=forms.MeterSerializer)
    def patch(self, request: Request, meter_id: UUID) -> Response:
        """Change the aggregation of a meter that has no usage. 409 `meter_in_use` once it has."""
        data = checked(forms.MeterChangeSerializer(data=request.data))
        made = meters.change(actor=self.actor, meter_id=meter_id, aggregation=data["aggregation"])
        stored = next(meter for meter in queries.meters() if meter.id == made.pk)
        return Response(forms.MeterSerializer(stored).data)
