"""Effect of an attempt's end on its job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.jobs.outcomes import AttemptHistory, backoff_s, next_state
from compute.limits import INFRASTRUCTURE_KILLS, OWN_CRASHES
from compute.models import FINAL_STATES, JobState, Outcome

OUTCOMES = [outcome for outcome in Outcome if outcome]


@pytest.mark.parametrize(
    ("outcome", "state", "cause"),
    [
        (Outcome.SUCCEEDED, "succeeded", ""),
        (Outcome.USER_ERROR, "failed", "user_error"),
        (Outcome.TIME_LIMIT, "failed", "time_limit"),
        (Outcome.COST_LIMIT, "failed", "cost_limit"),
        (Outcome.ARTIFACT, "failed", "artifact"),
        (Outcome.PLATFORM, "failed", "platform"),
        (Outcome.BUDGET, "paused", "budget"),
        (Outcome.IDLE, "paused", "idle"),
        (Outcome.CRASHED, "queued", ""),
        (Outcome.KILLED, "queued", ""),
        (Outcome.UNSTAGED, "queued", ""),
        (Outcome.DISK_FULL, "queued", ""),
        (Outcome.LOST, "queued", ""),
        (Outcome.STOPPED, "queued", ""),
    ],
)
def test_a_running_job_moves_as_its_first_attempt_ended(outcome: Outcome, state: str, cause: str) -> None:
    verdict = next_state(outcome, AttemptHistory("running"))
    assert verdict is not None and (verdict.state, verdict.cause) == (state, cause)


def run_until_final(outcome: Outcome) -> tuple[int, str]:
    standing, tries = AttemptHistory("running"), 0
    while True:
        tries += 1
        verdict = next_state(outcome, standing)
        assert verdict is not None
        if verdict.state in FINAL_STATES:
            return tries, verdict.cause
        standing = AttemptHistory("running", verdict.own_crashes, verdict.infrastructure_kills)


def test_three_crashes_of_its_own_are_poison() -> None:
    assert run_until_final(Outcome.CRASHED) == (OWN_CRASHES, "poison") == (3, "poison")


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.KILLED, Outcome.UNSTAGED, Outcome.DISK_FULL])
def test_twenty_kills_from_outside_fail_it_as_platform(outcome: Outcome) -> None:
    assert run_until_final(outcome) == (INFRASTRUCTURE_KILLS, "platform") == (20, "platform")


def test_kills_from_outside_are_not_counted_as_crashes() -> None:
    verdict = next_state(Outcome.LOST, AttemptHistory("running", own_crashes=2, infrastructure_kills=5))
    assert verdict is not None and (verdict.own_crashes, verdict.infrastructure_kills) == (2, 6)


def test_what_was_killed_goes_on_at_once_and_what_failed_to_start_waits() -> None:
    waits = {}
    for outcome in (Outcome.LOST, Outcome.KILLED, Outcome.UNSTAGED, Outcome.DISK_FULL, Outcome.CRASHED):
        verdict = next_state(outcome, AttemptHistory("running", own_crashes=1, infrastructure_kills=4))
        assert verdict is not None
        waits[outcome] = verdict.backoff
    assert list(waits.values()) == [0, 0, 5, 5, 2]


def test_a_device_that_cannot_be_opened_is_retried_on_another_one_only() -> None:
    elsewhere = next_state(Outcome.PLATFORM, AttemptHistory("running", elsewhere=True))
    assert elsewhere is not None and elsewhere.state == JobState.QUEUED


@given(st.sampled_from(OUTCOMES), st.sampled_from(FINAL_STATES), st.integers(0, 3), st.integers(0, 20))
def test_a_final_state_is_never_left(outcome: Outcome, state: str, own: int, kills: int) -> None:
    assert next_state(outcome, AttemptHistory(state, own, kills)) is None


@given(
    st.sampled_from([outcome for outcome in OUTCOMES if outcome != Outcome.SUCCEEDED]),
    st.sampled_from(["paused", "queued"]),
)
def test_a_job_that_a_person_paused_meanwhile_stays_as_the_person_left_it(outcome: Outcome, state: str) -> None:
    assert next_state(outcome, AttemptHistory(state)) is None


@pytest.mark.parametrize("state", ["paused", "queued"])
def test_the_last_crash_that_is_allowed_is_poison_even_under_a_pause(state: str) -> None:
    verdict = next_state(Outcome.CRASHED, AttemptHistory(state, own_crashes=OWN_CRASHES - 1))
    assert verdict is not None and (verdict.state, verdict.cause, verdict.own_crashes) == ("failed", "poison", 3)


def test_success_wins_over_a_pause_that_came_too_late() -> None:
    verdict = next_state(Outcome.SUCCEEDED, AttemptHistory("paused"))
    assert verdict is not None and verdict.state == JobState.SUCCEEDED


def test_the_wait_before_the_next_try_doubles_up_to_a_minute() -> None:
    assert [backoff_s(failures) for failures in (0, 1, 2, 3, 20)] == [0, 1, 2, 4, 60]
