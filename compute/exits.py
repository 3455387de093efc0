"""What the exit of a child means. Pure: the runner's protocol as one function."""

from __future__ import annotations

import signal

from compute.models import Outcome

EXIT_USER, EXIT_PLATFORM, EXIT_REFUSED, EXIT_STOPPED = 65, 69, 71, 75

_LIMITS = {
    Outcome.TIME_LIMIT: "The time limit was reached.",
    Outcome.COST_LIMIT: "The cost limit was reached.",
    Outcome.BUDGET: "A budget has no room for more.",
}


def judge(
    code: int | None, *, stop: Outcome | None, full: bool, fault: str, device: str, opening: bool, cuda: bool
) -> tuple[Outcome, str]:
    """Return how the attempt ended and what to tell the user.

    `stop` is why the child was asked to stop, `full` whether it was killed for its memory, `fault` what it said.
    A finished child counts as finished even when a stop came too late, unless its job was cancelled; one that crashes
    while a person's pause is under way has crashed.
    What costs nothing is believed only while the child is still `opening`, before it locked itself down and said
    anything of its work; that a device cannot be opened only of one that needs opening (`cuda`).
    """
    if code == 0 and stop != Outcome.CANCELLED:
        return Outcome.SUCCEEDED, ""
    if code == EXIT_USER:
        return Outcome.USER_ERROR, fault or "The job's input was refused."
    killed = code in {None, EXIT_STOPPED, -signal.SIGKILL, -signal.SIGTERM}
    unopened = opening and ((code == EXIT_PLATFORM and cuda) or code == EXIT_REFUSED)
    crash = Outcome.CRASHED, fault or f"The process ended with exit code {code}."
    if stop == Outcome.PAUSED and not killed and not unopened:
        return crash
    if stop is not None:
        return stop, _LIMITS.get(stop, "")
    if unopened and code == EXIT_PLATFORM:
        return Outcome.PLATFORM, f"{device} could not be opened: our fault, and not charged."
    if unopened:
        return Outcome.PLATFORM, "It could not be started on this host: our fault, and not charged."
    if full:
        return Outcome.CRASHED, "It used more memory than its device offers."
    if killed and code is not None:
        return Outcome.KILLED, "The process was ended from outside."
    return crash
