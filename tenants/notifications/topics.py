"""What notifications are about, and whether a person wants them in the bell, by email, by webhook, or not.

A topic gathers kinds of notifications. A person's choice holds in one organisation; without one the topic's default does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from uuid import UUID

from django.db.models import QuerySet

from tenants.access.actor import Actor
from tenants.errors import NotFound
from tenants.isolation import limits
from tenants.models import NotificationChoice


@dataclass(frozen=True)
class Ways:
    """By which ways a person is notified."""

    bell: bool = True
    email: bool = True
    webhook: bool = False


BOTH = Ways()
#: Of topics that are frequent: those who want them choose them.
OFF = Ways(bell=False, email=False)


@dataclass(frozen=True)
class Topic:
    """A subject of notifications, as its line on the page says it, and how those who chose nothing are notified."""

    key: str
    title: str
    kinds: tuple[str, ...]
    default: Ways


WAYS = [one.name for one in fields(Ways)]
_topics: dict[str, Topic] = {}
_of_kind: dict[str, str] = {}


def register(key: str, title: str, *kinds: str, default: Ways = BOTH) -> None:
    """Add a topic with the kinds of notifications that belong to it."""
    _topics[key] = Topic(key, title, kinds, default)
    _of_kind.update(dict.fromkeys(kinds, key))


def topics() -> list[Topic]:
    """Return the topics by title."""
    return sorted(_topics.values(), key=lambda one: one.title)


def ways_of(people: Iterable[UUID], kind: str) -> Mapping[UUID, Ways]:
    """Return the ways of each of these people for a kind, in the open scope."""
    everybody, topic = list(people), _of_kind.get(kind)
    if topic is None:
        return dict.fromkeys(everybody, BOTH)
    rows = NotificationChoice.objects.filter(topic=topic, user_id__in=everybody).values_list("user_id", *WAYS)
    return dict.fromkeys(everybody, _topics[topic].default) | {user_id: Ways(*ways) for user_id, *ways in rows}


def chosen(user_id: UUID) -> dict[str, Ways]:
    """Return a person's ways by topic, of every topic."""
    own = {topic: Ways(*ways) for topic, *ways in _own(user_id).values_list("topic", *WAYS)}
    return {one.key: own.get(one.key, one.default) for one in topics()}


def choose(actor: Actor, ways: Mapping[str, Ways]) -> None:
    """Store the actor's own choice for these topics; unknown ones are ignored. Raises NotFound for a key."""
    if actor.kind != "user" or actor.id is None:
        raise NotFound
    known = {key: value for key, value in ways.items() if key in _topics}
    limits.take_turns(NotificationChoice, actor.id)
    _own(actor.id).filter(topic__in=known).delete()
    NotificationChoice.objects.bulk_create(
        NotificationChoice(user_id=actor.id, topic=key, **asdict(value))
        for key, value in known.items()
        if value != _topics[key].default
    )


def _own(user_id: UUID) -> QuerySet[NotificationChoice]:
    return NotificationChoice.objects.filter(user_id=user_id)
