"""Effect of an attempt's end on its job. Pure: the state machine of `paused`, `failed`, `queued` in one function."""

from __future__ import annotations

from dataclasses import dataclass

from compute import limits
from compute.models import FINAL_STATES, Cause, JobState, Outcome


@dataclass(frozen=True)
class AttemptHistory:
    """State of the job when its attempt ends. `elsewhere`: another device of its class could take it."""

    state: str
    own_crashes: int = 0
    infrastructure_kills: int = 0
    elsewhere: bool = False


@dataclass(frozen=True)
class NextState:
    """The job's next state. `backoff` counts failed tries in a row, 0 for none."""

    state: str
    cause: str = Cause.NONE
    own_crashes: int = 0
    infrastructure_kills: int = 0
    backoff: int = 0


_FAILED = {
    Outcome.USER_ERROR: Cause.USER_ERROR,
    Outcome.TIME_LIMIT: Cause.TIME_LIMIT,
    Outcome.COST_LIMIT: Cause.COST_LIMIT,
    Outcome.ARTIFACT: Cause.ARTIFACT,
}

_PAUSED = {Outcome.BUDGET: Cause.BUDGET, Outcome.IDLE: Cause.IDLE}

_WAITED_OUT = {Outcome.UNSTAGED, Outcome.DISK_FULL}


def next_state(outcome: Outcome, job: AttemptHistory) -> NextState | None:
    """Return the job's next state, or None if the attempt's end does not change it.

    A final state stays. A job that a person paused, or resumed again meanwhile, keeps that state unless the attempt had
    already succeeded. Its own crashes end it after 3 (`poison`), whatever a person did meanwhile; kills from outside
    after 20 (`platform`). A crash, a failed staging and a full disk delay the next try; after a kill or a loss it
    starts at once.
    """
    if job.state in FINAL_STATES:
        return None
    if outcome == Outcome.SUCCEEDED:
        return NextState(JobState.SUCCEEDED, Cause.NONE, job.own_crashes, job.infrastructure_kills)
    own, kills = job.own_crashes, job.infrastructure_kills
    poison = outcome == Outcome.CRASHED and own + 1 >= limits.OWN_CRASHES
    if job.state != JobState.RUNNING and not poison:
        return None
    if outcome in _FAILED:
        return NextState(JobState.FAILED, _FAILED[outcome], own, kills)
    if outcome in _PAUSED:
        return NextState(JobState.PAUSED, _PAUSED[outcome], own, kills)
    if outcome == Outcome.CRASHED:
        own += 1
        if poison:
            return NextState(JobState.FAILED, Cause.POISON, own, kills)
        return NextState(JobState.QUEUED, Cause.NONE, own, kills, backoff=own)
    if outcome in {Outcome.LOST, Outcome.KILLED, Outcome.UNSTAGED, Outcome.PLATFORM, Outcome.DISK_FULL}:
        kills += 1
        if kills >= limits.INFRASTRUCTURE_KILLS or (outcome == Outcome.PLATFORM and not job.elsewhere):
            return NextState(JobState.FAILED, Cause.PLATFORM, own, kills)
        return NextState(JobState.QUEUED, Cause.NONE, own, kills, backoff=kills if outcome in _WAITED_OUT else 0)
    return NextState(JobState.QUEUED, Cause.NONE, own, kills)


def backoff_s(failures: int) -> float:
    """Return the delay before the next try: doubled by each failure in a row, up to a minute."""
    first, longest = limits.BACKOFF_S
    return float(min(longest, first * 2 ** (failures - 1))) if failures > 0 else 0.0
