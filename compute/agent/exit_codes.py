"""Classify the exit of a child. Pure: the runner's protocol as one function."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from compute.models import Outcome

EXIT_USER, EXIT_PLATFORM, EXIT_REFUSED, EXIT_STOPPED = 65, 69, 71, 75

_GOES_ON = {Outcome.PAUSED, Outcome.PREEMPTED, Outcome.RECLAIMED, Outcome.IDLE}
"""Stops after which the job may run again: one that crashes meanwhile has crashed."""
_REASONS = {
    Outcome.PREEMPTED: "It gave way to work that came before it, and goes on from its checkpoint.",
    Outcome.RECLAIMED: "It had borrowed the device. Its owner asked for it; it goes on from its checkpoint.",
    Outcome.IDLE: "Its devices did nothing. Resume it to go on from its checkpoint.",
    Outcome.TIME_LIMIT: "The time limit was reached.",
    Outcome.COST_LIMIT: "The cost limit was reached.",
    Outcome.BUDGET: "The budget is used up.",
}


@dataclass(frozen=True, kw_only=True)
class ChildExit:
    """An exit, and what the node knows of the child.

    `stop` is why the child was asked to stop, `excess` what it was killed for, or empty, `fault` what it reported.
    """

    code: int | None
    stop: Outcome | None
    excess: str
    fault: str
    device: str
    opening: bool
    cuda: bool
    filtered: bool = True


def classify(end: ChildExit) -> tuple[Outcome, str]:
    """Return the outcome of the attempt and the message for the user.

    A finished child counts as finished even if a stop came too late, unless its job was cancelled; one that crashes
    during a pause, or while it gives way, has crashed. The child itself chooses its exit code, including 75 without a request to stop.
    It cannot choose a signal: the filter lets no child kill itself with the signals that hosts use. So a signal came
    from outside if the child is `filtered`, or was still `opening`, that is before lockdown and before it reported any
    work. Only then is a free outcome trusted too: "device unavailable" only from one that needs a device (`cuda`).
    """
    if end.code == 0 and end.stop != Outcome.CANCELLED:
        return Outcome.SUCCEEDED, ""
    if end.code == EXIT_USER:
        return Outcome.USER_ERROR, end.fault or "The job's input is not valid."
    killed = end.code in {-signal.SIGKILL, -signal.SIGTERM}
    unopened = end.opening and ((end.code == EXIT_PLATFORM and end.cuda) or end.code == EXIT_REFUSED)
    crash = Outcome.CRASHED, end.fault or f"The process ended with exit code {end.code}."
    if end.stop in _GOES_ON and not (killed or unopened or end.code in {None, EXIT_STOPPED}):
        return crash
    if end.stop is not None:
        return end.stop, _REASONS.get(end.stop, "")
    if unopened and end.code == EXIT_PLATFORM:
        return Outcome.PLATFORM, f"{end.device} could not be opened. This is a platform failure and is not charged."
    if unopened:
        return Outcome.PLATFORM, "It could not be started on this host. This is a platform failure and is not charged."
    if end.excess:
        return Outcome.CRASHED, end.excess
    if killed and (end.filtered or end.opening):
        return Outcome.KILLED, "The process was ended from outside."
    return crash
