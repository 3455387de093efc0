"""What notifications are about, and whether a person wants them in the bell, by email, or not.

A topic gathers kinds of notifications. A person's choice holds in one organisation; without one they get both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from tenants.access.actor import Actor
from tenants.errors import NotFound
from tenants.models import NotificationChoice


@dataclass(frozen=True)
class Topic:
    """A subject of notifications, as its line on the page says it."""

    key: str
    title: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Ways:
    """By which ways a person is notified."""

    bell: bool = True
    email: bool = True


BOTH = Ways()
_topics: dict[str, Topic] = {}
_of_kind: dict[str, str] = {}


def register(key: str, title: str, *kinds: str) -> None:
    """Add a topic with the kinds of notifications that belong to it."""
    _topics[key] = Topic(key, title, kinds)
    _of_kind.update(dict.fromkeys(kinds, key))


def topics() -> list[Topic]:
    """Return the topics by title."""
    return sorted(_topics.values(), key=lambda one: one.title)


def ways_of(people: Iterable[UUID], kind: str) -> Mapping[UUID, Ways]:
    """Return the ways of those among these people who chose some for a kind, in the open scope."""
    topic = _of_kind.get(kind)
    if topic is None:
        return {}
    rows = NotificationChoice.objects.filter(topic=topic, user_id__in=list(people))
    return {user_id: Ways(bell, email) for user_id, bell, email in rows.values_list("user_id", "bell", "email")}


def chosen(user_id: UUID) -> dict[str, Ways]:
    """Return a person's ways by topic, of every topic."""
    rows = _own(user_id).values_list("topic", "bell", "email")
    own = {topic: Ways(bell, email) for topic, bell, email in rows}
    return {one.key: own.get(one.key, BOTH) for one in topics()}


def choose(actor: Actor, ways: Mapping[str, Ways]) -> None:
    """Store the actor's own choice for these topics; unknown ones are ignored. Raises NotFound for a key."""
    if actor.kind != "user" or actor.id is None:
        raise NotFound
    known = {key: value for key, value in ways.items() if key in _topics}
    _own(actor.id).filter(topic__in=known).delete()
    NotificationChoice.objects.bulk_create(
        NotificationChoice(user_id=actor.id, topic=key, bell=value.bell, email=value.email)
        for key, value in known.items()
        if value != BOTH
    )


def _own(user_id: UUID) -> QuerySet[NotificationChoice]:
    return NotificationChoice.objects.filter(user_id=user_id)
