"""Classify the exit of a child. Pure: the runner's protocol as one function."""

from __future__ import annotations

import signal

from compute.models import Outcome

EXIT_USER, EXIT_PLATFORM, EXIT_REFUSED, EXIT_STOPPED = 65, 69, 71, 75

_LIMITS = {
    Outcome.TIME_LIMIT: "The time limit was reached.",
    Outcome.COST_LIMIT: "The cost limit was reached.",
    Outcome.BUDGET: "The budget is used up.",
}


def classify(
    code: int | None,
    *,
    stop: Outcome | None,
    excess: str,
    fault: str,
    device: str,
    opening: bool,
    cuda: bool,
    filtered: bool = True,
) -> tuple[Outcome, str]:
    """Return the outcome of the attempt and the message for the user.

    `stop` is why the child was asked to stop, `excess` what it was killed for, or empty, `fault` what it reported. A
    finished child counts as finished even if a stop came too late, unless its job was cancelled; one that crashes
    during a person's pause has crashed. The child itself chooses its exit code, including 75 without a request to stop.
    It cannot choose a signal: the filter lets no child kill itself with the signals that hosts use. So a signal came
    from outside if the child is `filtered`, or was still `opening`, that is before lockdown and before it reported any
    work. Only then is a free outcome trusted too: "device unavailable" only from one that needs a device (`cuda`).
    """
    if code == 0 and stop != Outcome.CANCELLED:
        return Outcome.SUCCEEDED, ""
    if code == EXIT_USER:
        return Outcome.USER_ERROR, fault or "The job's input is not valid."
    killed = code in {-signal.SIGKILL, -signal.SIGTERM}
    unopened = opening and ((code == EXIT_PLATFORM and cuda) or code == EXIT_REFUSED)
    crash = Outcome.CRASHED, fault or f"The process ended with exit code {code}."
    if stop == Outcome.PAUSED and not (killed or unopened or code in {None, EXIT_STOPPED}):
        return crash
    if stop is not None:
        return stop, _LIMITS.get(stop, "")
    if unopened and code == EXIT_PLATFORM:
        return Outcome.PLATFORM, f"{device} could not be opened. This is a platform failure and is not charged."
    if unopened:
        return Outcome.PLATFORM, "It could not be started on this host. This is a platform failure and is not charged."
    if excess:
        return Outcome.CRASHED, excess
    if killed and (filtered or opening):
        return Outcome.KILLED, "The process was ended from outside."
    return crash
