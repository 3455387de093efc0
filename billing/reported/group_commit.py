"""Group commit: requests of one sender that come at the same time share a transaction.

Requests that come while one of their sender is stored wait, and the first of them takes them together: they share the
statements and the commit, and all are answered once that transaction is durable. Each gets its own answer. If they fail
together, each is tried apart, so that one never spoils another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError

from tenants.access.actor import Actor
from tenants.errors import Unavailable

C = TypeVar("C")
A = TypeVar("A")


def together_or_apart(
    together: Callable[[Actor, Sequence[C]], Sequence[A | Exception]], actor: Actor, contents: Sequence[C]
) -> list[A | Exception]:
    """Return what each request of an actor gets: from one transaction, or if that fails, from one of its own.

    While the database is away, or after waiting too long for a lock, none is tried again: all get that error.
    """
    if len(contents) > 1:
        try:
            return list(together(actor, contents))
        except (OperationalError, InterfaceError) as error:
            return [error] * len(contents)
        except Exception:  # noqa: BLE001, S110 (nothing was stored: each is tried apart, and keeps its own error)
            pass
    found: list[A | Exception] = []
    for content in contents:
        try:
            found += together(actor, [content])
        except Exception as error:  # noqa: BLE001 (raised to its own caller)
            found.append(error)
    return found


@dataclass(eq=False)
class Call(Generic[C, A]):
    """One waiting request: its content, and how many events it counts as; then its answer or error."""

    content: C
    size: int
    woken: Event = field(default_factory=Event)
    leads: bool = False
    answer: A | None = None
    error: Exception | None = None

    def result(self) -> A:
        """Return the answer, or raise the error."""
        if self.answer is None:
            raise self.error or Unavailable()
        return self.answer


class GroupCommit(Generic[C, A]):
    """Answers requests of the same actor in groups of at most `most` events.

    `together` answers several in one transaction, with an answer or an error each; it raises what concerns all of them.
    """

    def __init__(self, together: Callable[[Actor, Sequence[C]], Sequence[A | Exception]], most: int) -> None:
        self._together = together
        self._most = most
        self._lock = Lock()
        self._waiting: dict[Actor, list[Call[C, A]]] = {}

    def answer(self, actor: Actor, content: C, size: int) -> A:
        """Answer a request, alone or with others that came meanwhile. Returns once it is stored durably."""
        call, lane = Call[C, A](content, size), replace(actor, request_id="")
        with self._lock:
            waiting = self._waiting.get(lane)
            if waiting is None:
                self._waiting[lane], call.leads = [], True
            else:
                waiting.append(call)
        if not call.leads:
            call.woken.wait()
        if not call.leads:
            return call.result()
        try:
            return self._lead(actor, lane, call)
        finally:
            self._pass_on(lane)

    def _lead(self, actor: Actor, lane: Actor, call: Call[C, A]) -> A:
        group = [call, *self._join(lane, self._most - call.size)]
        try:
            self._run(actor, group)
        finally:
            for one in group[1:]:
                one.woken.set()  # without an answer if this thread ends: the service is then unavailable
        return call.result()

    def _run(self, actor: Actor, group: Sequence[Call[C, A]]) -> None:
        found = together_or_apart(self._together, actor, [call.content for call in group])
        for call, one in zip(group, found, strict=True):
            if isinstance(one, Exception):
                call.error = one
            else:
                call.answer = one

    def _join(self, lane: Actor, room: int) -> list[Call[C, A]]:
        """Take the first of those that wait, as many as there is room for."""
        with self._lock:
            waiting = self._waiting[lane]
            number = 0
            while number < len(waiting) and waiting[number].size <= room:
                room -= waiting[number].size
                number += 1
            joined, self._waiting[lane] = waiting[:number], waiting[number:]
            return joined

    def _pass_on(self, lane: Actor) -> None:
        """Let the first of those that came meanwhile lead."""
        with self._lock:
            waiting = self._waiting[lane]
            if not waiting:
                del self._waiting[lane]
                return
            following = waiting.pop(0)
        following.leads = True
        following.woken.set()
