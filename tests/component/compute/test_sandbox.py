"""A hostile child tries to escape; each layer is also tested alone."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from compute import kinds, limits
from compute.agent.supervisor import AttemptSupervisor
from compute.devices.base import Sampler
from compute.leases import leases
from compute.procfs import group_members, group_use
from compute.sandbox import folders, landlock, sandbox, seccomp
from compute.sandbox.process import Child, Slot, unprivileged_user
from compute.sandbox.protocol import Layers, Metric
from tests.fakes import runner
from tests.fakes.runner.kind import TickKind
from tests.support.waiting import wait_until
from tests.support.work import wait_until_at_work

SLOT = Slot(kind="cpu", uuid="cpu-test-0", index=0, threads=1, memory_bytes=2**33)
MIB = 1024 * 1024
FOLDER = Path(runner.__file__).parent


def start(workdir: Path, script: str, *, required: bool = False, inputs: dict[str, object] | None = None) -> Child:
    return Child(
        entrypoint=FOLDER / script,
        attempt="a1",
        workdir=workdir,
        slot=SLOT,
        payload={"inputs": inputs or {}},
        sandbox_required=required,
    )


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_every_way_out_is_blocked(workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    secret = tmp_path / "another tenant's file"
    secret.write_text("secret")
    database = socket.socket(socket.AF_UNIX)
    database.bind(str(tmp_path / "socket"))
    database.listen()
    with socket.create_server(("127.0.0.1", 0)) as server, database:
        inputs = {"port": server.getsockname()[1], "socket": str(tmp_path / "socket"), "secret": str(secret)}
        child = start(workdir, "canary.py", inputs=inputs)
        assert child.exited.wait(180)
    tried = {name: blocked for said in child.said if isinstance(said, Metric) for name, blocked in said.values.items()}
    assert len(tried) == 66
    assert {name for name, blocked in tried.items() if not blocked} == set(), list(child.lines)


def test_no_way_leads_from_the_child_to_its_supervisor(workdir: Path) -> None:
    child = start(workdir, "supervisor_attacker.py")
    assert child.exited.wait(180)
    (tried,) = [said for said in child.said if isinstance(said, Metric)]
    assert len(tried.values) == 10
    assert {name for name, blocked in tried.values.items() if not blocked} == set(), list(child.lines)


def test_a_child_that_moves_to_its_parents_group_is_killed_all_the_same(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start(workdir, "supervisor_attacker.py", inputs={"unfiltered": True})
    wait_until_at_work(child, workdir)
    assert (workdir / "ready").read_text() == "1", "even without the filter a session's leader stays in its group"
    monkeypatch.setattr("compute.sandbox.process.os.killpg", lambda *_: None)  # as if it had found a way out
    child.kill()
    assert child.exited.is_set() and child.exit_code == -signal.SIGKILL


def test_every_running_child_has_a_user_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("compute.sandbox.process.os.geteuid", lambda: 0)
    monkeypatch.setattr("compute.sandbox.process._closed", lambda *_: False)
    monkeypatch.setattr("compute.limits.FIRST_CHILD_UID", 1_990_000_000)
    monkeypatch.setattr("compute.sandbox.process.CHILD_USERS", 3)
    first, second, third = (unprivileged_user(tmp_path, tmp_path) for _ in range(3))
    assert first and second and third and len({first.uid, second.uid, third.uid}) == 3
    with pytest.raises(OSError, match="in use"):
        unprivileged_user(tmp_path, tmp_path)
    second.give_back()
    again = unprivileged_user(tmp_path, tmp_path)
    assert again is not None and again.uid == second.uid
    for user in (first, again, third):
        user.give_back()


def test_the_child_says_which_layers_are_missing(workdir: Path) -> None:
    child = start(workdir, "canary.py", inputs={"port": 9, "socket": "/nowhere", "secret": "/nowhere"})
    assert child.exited.wait(180)
    (layers,) = [said for said in child.said if isinstance(said, Layers)]
    assert set(layers.missing) <= {sandbox.USER, sandbox.FILES, sandbox.NETWORK, sandbox.CALLS, sandbox.TREE}


def test_a_host_without_a_layer_refuses_when_the_sandbox_is_required(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.sandbox.process.unprivileged_user", lambda *_: None)
    monkeypatch.setattr("compute.sandbox.process.LAUNCHER", FOLDER / "launch_without_landlock.py")
    child = start(workdir, "canary.py", required=True)
    assert child.exited.wait(180)
    assert child.exit_code == sandbox.EXIT_REFUSED
    assert any(sandbox.FILES in line for line in child.lines)
    assert not (workdir / "out").exists()


def test_the_child_dies_with_its_supervisor(workdir: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from compute.sandbox.process import Child, Slot;"
        f"child = Child(entrypoint=Path({str(FOLDER / 'slow_child.py')!r}), attempt='a1', workdir=Path({str(workdir)!r}),"
        " slot=Slot(kind='cpu', uuid='u', index=0, threads=1, memory_bytes=1), payload={}, sandbox_required=False);"
        "print(child.group, flush=True); time.sleep(60)"
    )
    root = str(Path(sandbox.__file__).resolve().parents[2])
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, text=True)
    assert supervisor.stdout is not None
    group = int(supervisor.stdout.readline())
    wait_until((workdir / "ready").exists, "the child is at work")
    assert group_members(group) == [group]
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    wait_until(lambda: group_members(group) == [], "the child is gone")


def test_a_child_sees_only_its_own_device_and_no_environment(workdir: Path) -> None:
    child = start(workdir, "slow_child.py")
    wait_until_at_work(child, workdir)
    environment = dict(
        part.split("=", 1) for part in Path(f"/proc/{child.group}/environ").read_text().split("\0") if part
    )
    child.kill()
    assert environment.pop("CUDA_VISIBLE_DEVICES") == ""
    assert set(environment) == {
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "ARROW_IO_THREADS",
        "TMPDIR",
        "LANG",
        "TZ",
    }
    assert child.exit_code == -signal.SIGKILL


def test_a_child_that_ignores_the_request_to_stop_is_killed(workdir: Path) -> None:
    child = start(workdir, "slow_child.py", inputs={"stubborn": True})
    wait_until_at_work(child, workdir)
    child.ask_to_stop()
    assert not child.exited.wait(0.5)
    child.kill()
    assert child.exited.is_set() and group_members(child.group) == []


def hidden(workdir: Path, how: str) -> Child:
    """Start a child that hides its resources, and wait until it does."""
    child = start(workdir, "hider.py", inputs={"how": how})
    wait_until_at_work(child, workdir)
    return child


@pytest.mark.parametrize("how", ["leader", "mapped"])
def test_memory_and_disk_of_a_child_are_measured_however_hidden(workdir: Path, how: str) -> None:
    child = hidden(workdir, how)
    try:
        seconds, resident = group_use(child.group)
        assert group_members(child.group) == [child.group]
        assert seconds > 0 and resident > (64 if how == "leader" else 1) * MIB
        assert "MB" in str(folders.excess(workdir, 4 * MIB, child.group)), "a file without a name"
    finally:
        child.kill()
    assert group_members(child.group) == []


def test_a_child_that_starts_threads_without_end_is_stopped(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start(workdir, "hider.py", inputs={"how": "threads"})
    mine = SimpleNamespace(
        job=SimpleNamespace(id="j", kind="tick", spec={}), attempt_id="a", token=1, work=None, slot=SLOT, others=()
    )
    kinds.register(TickKind())
    watcher = AttemptSupervisor(cast(leases.Claim, mine), cast(Sampler, None), workdir)
    watcher._child = child
    monkeypatch.setattr(watcher._heartbeat, "due", lambda: False)
    watcher._watch(child)
    killed = child.exit_code == -signal.SIGKILL and "threads" in watcher._observed.excess
    refused = any("start new thread" in line for line in child.lines)
    assert killed or refused, (child.exit_code, list(child.lines))


def test_a_child_with_endless_output_is_throttled(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAID_AT_ONCE", 64 * 1024)
    monkeypatch.setattr(limits, "SAID_BYTES_S", 1)
    child = start(workdir, "hider.py", inputs={"how": "talk"})
    wait_until(lambda: len(child.said) >= 100, "it talks")
    assert not child.exited.wait(1)
    assert not (workdir / "ready").exists() and len(child.said) < 1_000
    child.kill()
    assert child.exited.is_set(), "what is left of it is read at once"


def run_filter(
    rows: list[tuple[int, int, int, int]], number: int, argument: int, arch: int, second: int = 0, third: int = 0
) -> int:
    """Interpret the classic BPF rows as the kernel would."""
    data = struct.pack("<IIQ6Q", number, arch, 0, argument, second, third, 0, 0, 0)
    place = accumulator = 0
    while True:
        code, yes, no, constant = rows[place]
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x06:
            return constant
        else:
            true = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}[
                code
            ]
            place += yes if true else no


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_refuses_processes_and_lets_threads_pass(machine: str, arch: int) -> None:
    column = 0 if machine == "x86_64" else 1
    rows = seccomp.program(machine, own_pid=4242)
    allow, refuse = 0x7FFF0000, 0x00050001
    assert len(rows) < 4096 and all(0 <= jump < 256 for row in rows for jump in row[1:3])
    clone, kill, execve = (56, 220)[column], (62, 129)[column], (59, 221)[column]
    assert run_filter(rows, clone, 0x00010400, arch) == allow
    assert run_filter(rows, clone, 0x00010000, arch) == refuse, "a thread with descriptors of its own"
    assert run_filter(rows, clone, 17, arch) == refuse
    assert run_filter(rows, 435, 0, arch) == 0x00050000 | 38
    assert run_filter(rows, execve, 0, arch) == refuse
    assert run_filter(rows, kill, 4242, arch) == allow
    assert run_filter(rows, kill, 1, arch) == refuse
    setpgid, prlimit, prctl, fcntl = (109, 154)[column], (302, 261)[column], (157, 167)[column], (72, 25)[column]
    assert run_filter(rows, setpgid, 0, arch) == refuse
    assert [run_filter(rows, prlimit, pid, arch) for pid in (0, 4242, 1)] == [allow, allow, refuse]
    assert [run_filter(rows, prctl, option, arch) for option in (1, 15)] == [refuse, allow]
    assert [run_filter(rows, fcntl, 8, arch, second) for second in (3, 8, 10, 15)] == [allow, refuse, refuse, refuse]
    assert run_filter(rows, 0 if column == 0 else 63, 0, arch) == allow
    assert [run_filter(rows, 436, 0, arch, third=flags) for flags in (0, 2, 4, 6)] == [allow, refuse, allow, refuse]
    assert run_filter(rows, 0, 0, arch ^ 1) == 0x80000000


CHANGES = {
    "x86_64": (90, 91, 268, 452, 92, 94, 93, 260, 188, 189, 190, 463, 197, 198, 199, 466, 132, 235, 261, 280, 469),
    "aarch64": (52, 53, 452, 55, 54, 5, 6, 7, 463, 14, 15, 16, 466, 88, 469),
}


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_refuses_changes_of_file_metadata(machine: str, arch: int) -> None:
    rows = seccomp.program(machine, own_pid=4242)
    assert {call for call in CHANGES[machine] if run_filter(rows, call, 0, arch) != 0x00050001} == set()
    ioctl = 16 if machine == "x86_64" else 29
    assert [run_filter(rows, ioctl, 0, arch, second) for second in (0x5401, 0x40086602, 0x401C5820)] == [
        0x7FFF0000,
        0x00050001,
        0x00050001,
    ]


def test_landlock_says_when_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(OSError, match="not available"):
        landlock.restrict(read=[], write=[])


def test_a_policy_is_needed_to_lock_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_policy", None)
    with pytest.raises(ValueError, match="policy"):
        sandbox.lock_down()


def test_a_folder_that_others_cannot_reach_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert sandbox.closed_to_others([inner, tmp_path / "missing"]) == [inner]
    assert os.access(inner, os.R_OK)


def test_work_files_hold_no_secret(workdir: Path) -> None:
    child = start(workdir, "slow_child.py")
    child.kill()
    assert set(json.loads((workdir / "sandbox.json").read_text())) == {
        "parent",
        "read_paths",
        "cuda",
        "address_space",
        "threads",
        "file_size",
        "required",
        "user",
        "network",
    }
