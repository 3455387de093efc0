"""RabbitMQ in place of Valkey: the main path, and a broker that is killed and loses what it held."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.scenarios import test_main_path as main_path
from tests.scenarios.stack import Stack, running_stack
from tests.scenarios.user_flows import walking
from tests.support.servers.rabbitmq import RabbitMQ
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("rabbitmq")]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def stack(django_db_setup: None, broker: RabbitMQ) -> Iterator[Stack]:
    with running_stack(BROKER_URL=broker.url) as running:
        yield running


def test_the_main_path_works_with_rabbitmq(browser: Browser, stack: Stack, tmp_path: Path) -> None:
    assert not (stack.home / "run/valkey.pid").exists()
    assert stack.environment("node")["BROKER_URL"].startswith("amqp://")
    with walking(browser, stack) as page:
        main_path.test_a_new_member_trains_three_models_and_the_invoice_shows_every_second(page, stack, tmp_path)
    doctor = stack.manage("doctor")
    assert "py-amqp answers" in doctor.stdout


def test_a_broker_that_loses_everything_loses_no_job(stack: Stack, broker: RabbitMQ) -> None:
    rows = b"".join(b"%d,%d\n" % (number, number % 2) for number in range(60))
    dataset = stack.upload("lost", b"a,target\n" + rows, "target")
    broker.kill()
    job = stack.launch(dataset)
    assert stack.job(job)["state"] in ("queued", "running")
    shutil.rmtree(broker.folder / "data")
    broker.start()
    wait_until(lambda: stack.job(job)["state"] == "succeeded", "the job", 180)
    billed = [row for row in stack.job(job)["attempts"] if float(row["billed_seconds"]) > 0]
    assert len(billed) == 1
