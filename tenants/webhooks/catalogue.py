"""The types of events that webhooks can receive, and how an event of the outbox becomes one.

What is sent is thin: ids, states and figures. It holds no names and no text of people, since a name may belong to a
restricted dataset; who may see the object reads it by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from tenants.events.events import Event, subscribe

TEST = "webhook.test"


@dataclass(frozen=True)
class EventType:
    """A type that webhooks choose; `title` is a sentence for people, without names.

    `reads`: the permission that reads its figures elsewhere; empty where it holds only ids and states.
    """

    name: str
    title: str
    reads: str = ""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What a webhook is sent about one event.

    `kind` and `id` name the object, `path` its page relative to the tenant's pages. `data` holds a few states and
    figures as JSON.
    """

    type: str
    kind: str
    id: UUID | str
    path: str
    data: dict[str, Any] = field(default_factory=dict)


E = TypeVar("E", bound=Event)
Send = Callable[[Fact], None]
_types: dict[str, EventType] = {}
_send: list[Send] = []


def register(event_class: type[E], *types: EventType, describe: Callable[[E], Fact | None]) -> None:
    """Let webhooks receive an event of the outbox as one of these types; `describe` returns None for what none receives.

    `describe` runs in the tenant's scope, once for each event that a webhook may want; it reads little.
    """
    _types.update({one.name: one for one in types})

    @subscribe(event_class)
    def pass_on(event: E) -> None:
        fact = describe(event)
        if fact is not None:
            for send in _send:
                send(fact)


def announce(*new: EventType) -> None:
    """Add types whose facts come from elsewhere than an event of the outbox."""
    _types.update({one.name: one for one in new})


def on_fact(send: Send) -> None:
    """Register what happens with each fact."""
    _send.append(send)


def types() -> list[EventType]:
    """Return every type that a webhook can choose, by name."""
    return sorted(_types.values(), key=lambda one: one.name)


def title_of(name: str) -> str:
    """Return the sentence of a type."""
    return _types[name].title if name in _types else "Test event"


def reads(names: Iterable[str]) -> set[str]:
    """Return the permissions that read the figures of these types elsewhere."""
    return {_types[name].reads for name in names if name in _types} - {""}
