"""The leader's loop: assign, relay, reap, repeat wake-ups, fire schedules.

PostgreSQL decides who leads and what happened.

One session holds the advisory lock, listens for the outbox and does all the work, so losing the connection means losing
the lead. Nothing is lost while the broker is unreachable: wake-ups that cannot be sent are repeated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import connection
from kombu.exceptions import OperationalError as BrokerAway

from compute import liveness, pg_session
from compute.fleet import presence
from compute.policy import Scope
from compute.scheduling import assign, capacity_wanted, history, periodic, reaper, slots, waits
from compute.tasks import call_node, queue_of, run_attempt
from tenants.events import outbox
from tenants.tasks import wake_delivery

log = structlog.get_logger(__name__)
LEADER_LOCK = 0x45584348_00000001
TICK_S = 1.0
LONGEST_WAIT_S = 5.0


class Controller:
    """Leads while it holds the lock, waits otherwise, and never gives up on the database or the broker."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        self.leads = False
        self._session: pg_session.Session | None = None
        self._swept = self._remembered = float("-inf")
        self._past: Mapping[Scope, float] = {}
        self._broker_back_at = 0.0

    def run(self) -> None:
        """Lead or wait until `stop` is set; failures are retried with growing delays."""
        wait = 0.1
        while not self.stop.is_set():
            liveness.beat("controller")
            try:
                self._serve()
                wait = 0.1
            except Exception as error:
                if isinstance(error, pg_session.LOST) and not pg_session.is_same_session(self._session):
                    said = str(error).splitlines()[0] if str(error) else type(error).__name__
                    log.warning("controller.database_away", error=said)
                else:
                    log.exception("controller.round_failed")
                wait = self._recover(wait)
        self._let_go()

    def _recover(self, wait: float) -> float:
        """Let another controller lead meanwhile, wait, and return the next delay."""
        self._let_go()
        self.stop.wait(wait)
        return min(wait * 2, LONGEST_WAIT_S)

    def _let_go(self) -> None:
        if self.leads:
            log.info("controller.stood_down")
        self.leads, self._session = False, None
        connection.close()

    def _serve(self) -> None:
        if not self.leads:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK])
                self.leads = bool(cursor.fetchone()[0])
            if not self.leads:
                self.stop.wait(TICK_S)
                return
            self._session = pg_session.listen("exchequer_outbox")
            self._swept = float("-inf")
            log.info("controller.leads")
        self.step()
        self._wait_for_news()

    def step(self) -> None:
        """Do one round of everything that is due."""
        if time.monotonic() - self._remembered >= history.REFRESHED_S:
            self._past, self._remembered = history.past_shares(), time.monotonic()
        self._dispatch(assign.assign_all(self._past))
        slots.assign_slots()
        self._with_broker(lambda: outbox.relay(wake_delivery))
        if time.monotonic() - self._swept >= settings.EXCHEQUER.sweep_s:
            self._swept = time.monotonic()
            reaped = reaper.reap()
            if reaped:
                log.warning("controller.reaped", attempts=reaped)
                self._dispatch(assign.assign_all(self._past))
            lost = slots.reap_slots()
            if lost:
                log.warning("controller.slots_lost", slots=lost)
                slots.assign_slots()
            slots.settle_slots()
            presence.observe()
            forgotten = assign.free_forgotten_devices()
            if forgotten:
                log.error("controller.devices_were_forgotten", devices=forgotten)
            self._dispatch(assign.unclaimed())
            self._ping(assign.unresponsive_nodes())
            waits.explain_all(self._past)
            capacity_wanted.observe()
            periodic.forget()
        self._with_broker(lambda: periodic.fire(current_app.conf.beat_schedule or {}, _send))

    def _dispatch(self, dispatches: list[assign.Dispatch]) -> None:
        for one in dispatches:
            self._with_broker(partial(_wake_node, one))

    def _ping(self, names: list[str]) -> None:
        for name in names:
            self._with_broker(partial(call_node.apply_async, (), queue=queue_of(name), retry=False))

    def _with_broker(self, act: Callable[[], object]) -> None:
        """Run something that needs the broker; after a failure pause it for a moment, the sweep makes up for it."""
        if time.monotonic() < self._broker_back_at:
            return
        try:
            act()
        except (BrokerAway, ConnectionError, TimeoutError) as error:
            log.warning("controller.broker_away", error=type(error).__name__)
            self._broker_back_at = time.monotonic() + TICK_S

    def _wait_for_news(self) -> None:
        """Sleep until a commit publishes something, at most one tick; drain further notifications of the same moment."""
        for _ in pg_session.session().notifies(timeout=TICK_S, stop_after=1):
            break


def _wake_node(one: assign.Dispatch) -> None:
    run_attempt.apply_async((str(one.tenant_id), str(one.attempt_id), one.token), queue=queue_of(one.node), retry=False)


def _send(entry: Mapping[str, Any]) -> None:
    current_app.send_task(
        entry["task"],
        args=entry.get("args", ()),
        kwargs=entry.get("kwargs", {}),
        retry=False,
        **entry.get("options", {}),
    )
