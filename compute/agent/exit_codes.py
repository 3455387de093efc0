"""Classify the exit of a child. Pure: the runner's protocol as one function."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from compute.models import Outcome

EXIT_USER, EXIT_PLATFORM, EXIT_REFUSED, EXIT_STOPPED = 65, 69, 71, 75

_LIMITS = {
    Outcome.TIME_LIMIT: "The time limit was reached.",
    Outcome.COST_LIMIT: "The cost limit was reached.",
    Outcome.BUDGET: "The budget is used up.",
}


@dataclass(frozen=True, kw_only=True)
class ChildExit:
    """An exit, and what the node knows of the child.

    `stop` is why it was asked to stop, `excess` what it was killed for, empty if for nothing, `fault` what it said;
    `opening`: it had not locked itself down yet; `cuda`: its device needs opening; `filtered`: its calls were.
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

    A finished child counts as finished even when a stop came too late, unless its job was cancelled; one that crashes
    while a person's pause is under way has crashed.
    An exit code is the child's own choice, 75 as well when nobody asked it to stop. A signal is not: the filter lets no
    child end itself by one of those that a host ends processes with, so it came from outside if the child is `filtered`,
    or was still `opening`: before it locked itself down and said anything of its work. Only then it is believed, too,
    what costs nothing; that a device cannot be opened only of one that needs opening (`cuda`).
    """
    if end.code == 0 and end.stop != Outcome.CANCELLED:
        return Outcome.SUCCEEDED, ""
    if end.code == EXIT_USER:
        return Outcome.USER_ERROR, end.fault or "The job's input was refused."
    killed = end.code in {-signal.SIGKILL, -signal.SIGTERM}
    unopened = end.opening and ((end.code == EXIT_PLATFORM and end.cuda) or end.code == EXIT_REFUSED)
    crash = Outcome.CRASHED, end.fault or f"The process ended with exit code {end.code}."
    if end.stop == Outcome.PAUSED and not (killed or unopened or end.code in {None, EXIT_STOPPED}):
        return crash
    if end.stop is not None:
        return end.stop, _LIMITS.get(end.stop, "")
    if unopened and end.code == EXIT_PLATFORM:
        return Outcome.PLATFORM, f"{end.device} could not be opened: our fault, and not charged."
    if unopened:
        return Outcome.PLATFORM, "It could not be started on this host. This is a platform failure and is not charged."
    if end.excess:
        return Outcome.CRASHED, end.excess
    if killed and (end.filtered or end.opening):
        return Outcome.KILLED, "The process was ended from outside."
    return crash
