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
    """Return how the attempt ended and what to tell the user.

    `stop` is why the child was asked to stop, `excess` what it was killed for, empty if for nothing, `fault` what it said.
    A finished child counts as finished even when a stop came too late, unless its job was cancelled; one that crashes
    while a person's pause is under way has crashed.
    An exit code is the child's own choice, 75 as well when nobody asked it to stop. A signal is not: the filter lets no
    child end itself by one of those that a host ends processes with, so it came from outside if the child is `filtered`,
    or was still `opening`: before it locked itself down and said anything of its work. Only then it is believed, too,
    what costs nothing; that a device cannot be opened only of one that needs opening (`cuda`).
    """
    if code == 0 and stop != Outcome.CANCELLED:
        return Outcome.SUCCEEDED, ""
    if code == EXIT_USER:
        return Outcome.USER_ERROR, fault or "The job's input was refused."
    killed = code in {-signal.SIGKILL, -signal.SIGTERM}
    unopened = opening and ((code == EXIT_PLATFORM and cuda) or code == EXIT_REFUSED)
    crash = Outcome.CRASHED, fault or f"The process ended with exit code {code}."
    if stop == Outcome.PAUSED and not (killed or unopened or code in {None, EXIT_STOPPED}):
        return crash
    if stop is not None:
        return stop, _LIMITS.get(stop, "")
    if unopened and code == EXIT_PLATFORM:
        return Outcome.PLATFORM, f"{device} could not be opened: our fault, and not charged."
    if unopened:
        return Outcome.PLATFORM, "It could not be started on this host: our fault, and not charged."
    if excess:
        return Outcome.CRASHED, excess
    if killed and (filtered or opening):
        return Outcome.KILLED, "The process was ended from outside."
    return crash
