"""The first `make up` on an empty home: it loads the demo, even after being killed meanwhile, and the demo works."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import pytest
import requests

from config.demo.organisations import CHARACTERS, PASSWORD
from tests.scenarios.stack import Stack, running_stack
from tests.support.waiting import wait_until

# Two whole starts with sixty days each, for all tests together; loading itself is tested in integration/.
pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("whole demo")]

LOADED_S = 900
"""A quiet machine takes well under a minute; this one may be loaded."""


@dataclass
class Story:
    """The first two starts on an empty home: the first was killed while it loaded the demo."""

    stack: Stack
    noted: bool
    claimed_loaded: bool
    text: str


@pytest.fixture(scope="module")
def story(django_db_setup: None) -> Iterator[Story]:
    """Tests come in any order, and each finds the product up and loaded."""
    with running_stack(started=False, EXCHEQUER_DEMO="1") as stack:
        stack.fill()
        stack.begin()
        assert stack.process is not None
        wait_until(lambda: re.search(r"day 1 of \d+", console(stack)), "the demo is being loaded", LOADED_S)
        noted = (stack.home / "demo-unfinished.json").exists()
        stack.process.send_signal(signal.SIGKILL)
        stack.process.wait()
        wait_until(lambda: not stack.processes(), "nothing is left of the killed start")
        claimed_loaded = (stack.home / "demo.txt").exists()
        stack.begin()
        wait_until(stack.said_up, "make up", LOADED_S)
        yield Story(stack, noted, claimed_loaded, console(stack).rpartition("starting in")[2])


@pytest.fixture
def stack(story: Story) -> Stack:
    return story.stack


def console(stack: Stack) -> str:
    return stack.console.read_text() if stack.console.exists() else ""


def log_in(stack: Stack, email: str) -> requests.Session:
    person = requests.Session()
    form = person.get(f"{stack.url}/accounts/login/", timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token is not None
    sent = {"login": email, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    answer = person.post(form.url, data=sent, headers={"Referer": form.url}, timeout=30)
    assert answer.status_code == 200, answer.text[:500]
    return person


def test_a_demo_that_was_killed_while_it_was_loaded_is_loaded_by_the_next_start(story: Story) -> None:
    assert story.noted
    assert not story.claimed_loaded
    assert "3 organisations, 60 days" in story.text
    assert not (story.stack.home / "demo-unfinished.json").exists()
    for one in CHARACTERS:
        assert f"{one.name}: owner@{one.slug}.example" in story.text
    assert PASSWORD in story.text


def test_the_demos_ledger_and_audit_chain_verify_and_its_clock_is_current(stack: Stack) -> None:
    for command in ("verify_audit", "verify_ledger", "reconcile"):
        done = stack.manage(command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "demo clock" not in stack.manage("doctor").stdout
    again = stack.manage("seed_demo")
    assert again.returncode == 0
    assert "loaded already" in again.stdout


@pytest.mark.parametrize("one", CHARACTERS, ids=lambda one: one.slug)
def test_every_demo_user_logs_in_and_every_endpoint_serves(stack: Stack, one) -> None:
    for person in one.people:
        visit = log_in(stack, one.email(person)).get(f"{stack.url}/t/{one.slug}/", timeout=30)
        assert visit.status_code == 200
        assert escape(one.name) in visit.text
    engineer = log_in(stack, f"engineer@{one.slug}.example")
    page = f"{stack.url}/t/{one.slug}/endpoints/"
    assert one.service.name in engineer.get(page, timeout=30).text
    found = rf"endpoint\.loaded.*{one.service.name}|{one.service.name}.*endpoint\.loaded"
    wait_until(lambda: re.search(found, stack.log("serving")), "the serving node loads the endpoint")


def test_a_second_start_loads_nothing(stack: Stack) -> None:
    assert stack.stop() <= 20
    os.truncate(stack.console, 0)
    stack.start()
    assert "loading the demo" not in console(stack)
    assert f"password of each: {PASSWORD}" in console(stack)
