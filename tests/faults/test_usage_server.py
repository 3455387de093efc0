"""kill -9 of the usage server under load: what it answered is stored, and what is sent again counts once."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tenants.isolation.scoping import tenant_scope
from tests.api.billing.test_events import counted, event
from tests.support import factories
from tests.support.servers.usage_server import BATCH, PATH, UsageProcess, ask
from tests.support.usage import priced_tenant
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nightly]
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
CALLERS, KILLS = 16, 4


def test_killed_under_load_it_has_what_it_answered_and_a_replay_counts_once(
    demo_clock: DemoClock, process_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    tenant = priced_tenant(demo_clock, NOW, for_=timedelta(days=40))
    key = factories.make_api_key(tenant)
    server = UsageProcess(process_environment(role="app", EXCHEQUER_HOME=tmp_path), tmp_path / "log")
    sent: list[list[dict[str, object]]] = []
    answered: list[str] = []
    over = threading.Event()

    def deliver(events: list[dict[str, object]]) -> bool:
        try:
            answer = ask(
                server.port,
                "POST",
                PATH,
                json.dumps(events).encode(),
                Authorization=f"Bearer {key}",
                Content_Type=BATCH,
            )
        except (OSError, HTTPException):  # the server was killed
            return False
        assert answer.status in (204, 503), answer
        return answer.status == 204

    def work(number: int) -> None:
        while not over.is_set():
            events = [event() for _ in range(1 + number % 3)]
            sent.append(events)
            if deliver(events):
                answered.extend(str(one["id"]) for one in events)

    try:
        server.start()
        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(work, number) for number in range(CALLERS)]
            try:
                for _ in range(KILLS):
                    before = len(answered)
                    wait_until(lambda before=before: len(answered) > before + 200, "answers")
                    assert server.end(signal.SIGKILL) == -signal.SIGKILL
                    server.start()
                before = len(answered)
                wait_until(lambda: len(answered) > before + 200, "answers after the last kill")
            finally:
                over.set()
            for call in calls:
                call.result()
        with tenant_scope(tenant.id):
            stored = counted(tenant)
        assert 3 * len(answered) <= stored <= 3 * sum(map(len, sent))
        for events in sent:
            assert deliver(events)
        assert counted(tenant) == Decimal(3) * sum(map(len, sent))
        assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)  # uvicorn ends in order, then as the signal would
    finally:
        server.close()
