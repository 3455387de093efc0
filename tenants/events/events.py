"""Events between apps: frozen, published inside the transaction, delivered at least once.

An event class is named `app.ClassName`; a subscriber is idempotent and calls one operation.
"""

import dataclasses
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.db import connection

from tenants.models import OutboxMessage


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events: fields are str, int, bool, UUID, Decimal, datetime, dict or None."""

    tenant_id: UUID
    topics: ClassVar[dict[str, type["Event"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Event.topics[cls.topic()] = cls

    @classmethod
    def topic(cls) -> str:
        """Return the topic of the event."""
        return f"{cls.__module__.split('.')[0]}.{cls.__name__}"


@dataclass(frozen=True, kw_only=True)
class ExternalEvent(Event):
    """Base of events whose handler talks to an outside server, such as a mail server.

    Its handler runs with no transaction and no scope open, in one process at a time, until it succeeds once.
    """


@dataclass(frozen=True, kw_only=True)
class SlowEvent(ExternalEvent):
    """Base of external events that talk to servers which tenants name: with threads of their own, shared fairly."""


@dataclass(frozen=True, kw_only=True)
class TenantCreated(Event):
    """A tenant was created; upper apps set up what it needs."""


@dataclass(frozen=True, kw_only=True)
class OwnerAwaited(Event):
    """An operator created the tenant for the person with this address, who is to be invited as its owner."""

    email: str


@dataclass(frozen=True, kw_only=True)
class StandingChanged(Event):
    """An operator suspended, resumed, closed or restored the tenant."""

    standing: str


@dataclass(frozen=True, kw_only=True)
class GlassBroken(Event):
    """A look of an operator inside the tenant begins; its owners are notified."""

    look_id: UUID


@dataclass(frozen=True, kw_only=True)
class ProjectRestricted(Event):
    """A project was restricted: who has no role in it no longer sees what it holds."""

    project_id: UUID


@dataclass(frozen=True, kw_only=True)
class TimeZoneChanged(Event):
    """The tenant moved to another time zone, so its days and months begin at other times."""


@dataclass(frozen=True, kw_only=True)
class MemberRemoved(Event):
    """A person is no longer a member; shares with this person alone end too."""

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class MemberAdded(Event):
    """A person became a member."""

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class ApprovalRequested(Event):
    """A request waits for a second person."""

    approval_id: UUID
    kind: str


@dataclass(frozen=True, kw_only=True)
class ApprovalAnswered(Event):
    """A second person answered a request: `state` is approved or declined."""

    approval_id: UUID
    kind: str
    state: str


@dataclass(frozen=True, kw_only=True)
class WebhookDue(SlowEvent):
    """Attempt `attempt` (from 0) of a delivery is due; a `forced` one is made although the webhook is to be left alone."""

    delivery_id: UUID
    attempt: int
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class NotificationRaised(ExternalEvent):
    """A member has a new notification; its email is due."""

    notification_id: UUID


@dataclass(frozen=True, kw_only=True)
class NotificationForWebhooks(Event):
    """A member was notified of something, and chose webhooks for it. `path` is relative to the tenant's pages."""

    user_id: UUID
    kind: str
    path: str


@dataclass(frozen=True, kw_only=True)
class InvitationIssued(ExternalEvent):
    """Someone was invited; the email with the link is due."""

    invitation_id: UUID


E = TypeVar("E", bound=Event)
Handler = Callable[[Any], None]
_handlers: dict[type[Event], list[Handler]] = {}


def subscribe(
    event_class: type[E],
) -> Callable[[Callable[[E], None]], Callable[[E], None]]:
    """Register a handler; it runs in the event's tenant scope, in the transaction that marks the delivery."""

    def register(handler: Callable[[E], None]) -> Callable[[E], None]:
        _handlers.setdefault(event_class, []).append(handler)
        return handler

    return register


def handlers(event_class: type[Event]) -> list[Handler]:
    """Return the handlers of an event class."""
    return _handlers.get(event_class, [])


def publish(event: Event) -> None:
    """Write an event to the outbox in the current transaction and wake the relay at commit."""
    publish_all([event])


def publish_all(events: Sequence[Event]) -> None:
    """Publish many events at once."""
    OutboxMessage.objects.bulk_create(
        OutboxMessage(tenant_id=event.tenant_id, topic=event.topic(), payload=_payload(event)) for event in events
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('exchequer_outbox', '')")


def load(topic: str, tenant_id: UUID, payload: dict[str, Any]) -> Event:
    """Rebuild an event from the outbox; raise `KeyError` for an unknown topic."""
    event_class = Event.topics[topic]
    hints = typing.get_type_hints(event_class)
    values = {name: _parse(hints[name], value) for name, value in payload.items() if name in hints}
    return event_class(tenant_id=tenant_id, **values)


def slow_topics() -> list[str]:
    """Return the topics of external events that have threads of their own."""
    return [topic for topic, event_class in Event.topics.items() if issubclass(event_class, SlowEvent)]


def external_topics() -> list[str]:
    """Return the topics of all external events."""
    return [topic for topic, event_class in Event.topics.items() if issubclass(event_class, ExternalEvent)]


def _payload(event: Event) -> dict[str, Any]:
    return {
        field.name: _dump(getattr(event, field.name))
        for field in dataclasses.fields(event)
        if field.name != "tenant_id"
    }


def _dump(value: Any) -> Any:
    if isinstance(value, UUID | Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _parse(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    for kind in (hint, *typing.get_args(hint)):
        if kind in (UUID, Decimal):
            return kind(value)
        if kind is datetime:
            return datetime.fromisoformat(value)
    return value
