"""The supervisor with a kind that cannot store a child's output."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from django.db import OperationalError

from compute import kinds, limits
from compute.agent import supervisor
from compute.agent.supervisor import AttemptSupervisor
from compute.devices.base import Sampler
from compute.leases import messages
from compute.models import Outcome
from compute.sandbox import workdirs
from tenants.errors import NotFound, Unavailable
from tests.fakes.runner.kind import TickKind


class Stubborn(TickKind):
    """Raises the given errors, one per call, then collects."""

    name = "stubborn"

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def collect(self, job: Any, token: int, workdir: Path) -> dict[str, Any]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return {}


def no_room() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def ended(kind: Stubborn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    kinds.register(kind)
    monkeypatch.setattr(supervisor.time, "sleep", lambda _: None)
    job = SimpleNamespace(id=uuid4(), kind="stubborn", spec={})
    mine = SimpleNamespace(job=job, attempt_id=uuid4(), token=1, work=None)
    found = AttemptSupervisor(cast(messages.Claim, mine), cast(Sampler, None), tmp_path)
    workdirs.make(tmp_path / str(mine.attempt_id))
    outcomes: list[Outcome] = []
    monkeypatch.setattr(found, "_finish", lambda outcome, *_: outcomes.append(outcome))
    found._succeed(0)
    (outcome,) = outcomes
    return outcome


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("x"), TypeError(), RuntimeError("no")])
def test_a_permanent_error_ends_the_attempt_at_once(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Stubborn(*[error] * 50)
    assert ended(kind, tmp_path, monkeypatch) == Outcome.CRASHED
    assert kind.asked == 1


def test_a_domain_error_is_the_users_and_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Stubborn(NotFound(), NotFound())
    assert (ended(kind, tmp_path, monkeypatch), kind.asked) == (Outcome.USER_ERROR, 1)


def test_an_unreachable_store_or_database_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Stubborn(Unavailable(), OperationalError("away"), Unavailable())
    assert (ended(kind, tmp_path, monkeypatch), kind.asked) == (Outcome.SUCCEEDED, 4)


def test_a_store_that_stays_away_ends_as_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARTIFACT_PATIENCE_S", 0.0)
    kind = Stubborn(Unavailable(), Unavailable())
    assert (ended(kind, tmp_path, monkeypatch), kind.asked) == (Outcome.ARTIFACT, 1)


@pytest.mark.parametrize("where", ["copy", "collect"])
def test_a_full_disk_is_the_platforms_fault(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Stubborn(no_room())
    if where == "copy":

        def take(*_: object) -> None:
            raise no_room()

        monkeypatch.setattr(workdirs, "_take", take)
    assert (ended(kind, tmp_path, monkeypatch), kind.asked) == (Outcome.DISK_FULL, int(where == "collect"))


def test_a_disk_that_the_child_itself_filled_is_the_childs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(workdir: Path, *_: object) -> None:
        (workdir / "out" / "much").write_bytes(bytes(100_000))
        raise no_room()

    monkeypatch.setattr(workdirs, "_take", take)
    monkeypatch.setattr(workdirs, "OUTPUT_BYTES", 10_000)
    monkeypatch.setattr(workdirs, "CHECKPOINT_BYTES", 10_000)
    assert ended(Stubborn(), tmp_path, monkeypatch) == Outcome.CRASHED
