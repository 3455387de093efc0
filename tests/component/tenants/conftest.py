"""A receiver over TLS and the fetcher's process, for the tests of webhooks of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.servers.fetcher import Receiver, RunningFetcher, fetcher, receiver

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def asking(server: Receiver) -> Iterator[RunningFetcher]:
    with fetcher(f"localhost:{server.port}", server.authority) as running:
        yield running


@pytest.fixture
def served(server: Receiver, asking: RunningFetcher, settings: Settings) -> Receiver:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": str(asking.socket)})
    server.received.clear()
    server.answer = lambda handler, request: 200
    return server
