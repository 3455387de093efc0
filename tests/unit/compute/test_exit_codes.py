"""The meaning of a child's exit, and which of its claims are not trusted."""

import os
import signal
from typing import Any

import pytest

from compute.agent.exit_codes import ChildExit, classify
from compute.models import Outcome

STOPS = [Outcome.TIME_LIMIT, Outcome.COST_LIMIT, Outcome.BUDGET, Outcome.CANCELLED, Outcome.PAUSED, Outcome.STOPPED]


def outcome(code: int | None, **changed: Any) -> Outcome:
    found: dict[str, Any] = {"stop": None, "excess": "", "fault": "", "device": "d", "opening": False, "cuda": True}
    return classify(ChildExit(code=code, **(found | changed)))[0]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (os.EX_OK, Outcome.SUCCEEDED),
        (65, Outcome.USER_ERROR),
        (75, Outcome.CRASHED),
        (137, Outcome.CRASHED),
        (143, Outcome.CRASHED),
        (-signal.SIGKILL, Outcome.KILLED),
        (-signal.SIGSEGV, Outcome.CRASHED),
        (1, Outcome.CRASHED),
        (69, Outcome.CRASHED),
        (71, Outcome.CRASHED),
    ],
)
def test_each_exit_code_of_a_child_has_its_outcome(code: int, expected: Outcome) -> None:
    assert outcome(code) == expected


def test_a_gpu_that_cannot_be_opened_is_believed_before_the_work_began_and_only_then() -> None:
    assert outcome(69, opening=True) == Outcome.PLATFORM
    assert outcome(69, opening=False) == Outcome.CRASHED
    assert outcome(69, opening=True, cuda=False) == Outcome.CRASHED


@pytest.mark.parametrize("cuda", [True, False])
def test_a_host_that_lacks_layers_is_believed_before_the_work_began(cuda: bool) -> None:
    assert outcome(71, opening=True, cuda=cuda) == Outcome.PLATFORM


@pytest.mark.parametrize("code", [69, 71])
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("opening", [True, False])
def test_exit_codes_after_a_stop_request_are_charged(code: int, stop: Outcome, opening: bool) -> None:
    crashed = stop == Outcome.PAUSED and not opening
    assert outcome(code, stop=stop, opening=opening) == (Outcome.CRASHED if crashed else stop)


@pytest.mark.parametrize("code", [1, -signal.SIGSEGV])
def test_a_crash_while_a_pause_is_under_way_is_a_crash(code: int) -> None:
    assert outcome(code, stop=Outcome.PAUSED) == Outcome.CRASHED


@pytest.mark.parametrize("code", [75, -signal.SIGTERM, -signal.SIGKILL, None])
def test_a_child_that_stops_for_a_pause_or_is_killed_for_it_has_not_crashed(code: int | None) -> None:
    assert outcome(code, stop=Outcome.PAUSED) == Outcome.PAUSED


@pytest.mark.parametrize("code", [-signal.SIGTERM, -signal.SIGKILL])
def test_a_signal_is_from_outside_only_where_the_child_could_not_send_it(code: int) -> None:
    assert outcome(code, filtered=False, opening=True) == Outcome.KILLED
    assert outcome(code, filtered=False) == Outcome.CRASHED
    assert outcome(code, excess="It used more memory than its device offers.") == Outcome.CRASHED
