"""The supervisor on small parts: restarts, growing delays, and that nothing survives it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy import procfs
from tests.component.deploy.test_local import ROOT
from tests.support.waiting import wait_until

PROGRAM = """
import signal, sys
from pathlib import Path
from deploy.local.state_dir import Home
from deploy.local.supervisor import Part, Supervisor
home = Home(Path(sys.argv[1]))
home.take()
supervisor = Supervisor(home, lambda text: print(text, flush=True))
def ask(number, frame):
    supervisor.stop_asked += 1
signal.signal(signal.SIGTERM, ask)
part = Part(name="part", command=["/bin/sh", "-c", sys.argv[2]], environment={"PATH": "/bin:/usr/bin"}, grace_s=1)
supervisor.start(part)
supervisor.wait_ready(part)
supervisor.watch()
supervisor.stop(["part"])
"""


def supervise(home: Path, script: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Run a supervisor of one shell script; return its process and the file it prints to."""
    output = home.with_suffix(".out")
    with output.open("wb") as out:
        command = [sys.executable, "-c", PROGRAM, str(home), script]
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out), output


def test_a_part_that_keeps_dying_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    process, output = supervise(tmp_path / "h", "exit 3")
    wait_until(lambda: output.read_text().count("ended with code 3") >= 3, "it died three times")
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert [f"starting it again in {pause} s" in output.read_text() for pause in ("0.5", "1", "2")] == [True] * 3


def test_a_grandchild_that_left_its_session_is_found_and_killed(tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    process, output = supervise(tmp_path / "h", f"setsid sleep 300 & echo $! > {note}; wait")
    wait_until(lambda: note.exists() and note.read_text(), "the grandchild runs")
    grandchild = int(note.read_text())
    assert procfs.alive(grandchild)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    wait_until(lambda: not procfs.alive(grandchild), "the grandchild is gone")
    assert "part stopped" in output.read_text()


def test_a_part_that_ignores_the_stop_is_killed_after_its_grace(tmp_path: Path) -> None:
    process, _ = supervise(tmp_path / "h", f"trap '' TERM; echo > {tmp_path}/deaf; while :; do sleep 0.1; done")
    wait_until((tmp_path / "deaf").exists, "it hears nothing")
    pid = tmp_path / "h" / "run" / "part.pid"
    wait_until(lambda: pid.exists() and pid.read_text() != "", "the part runs")
    part = int(pid.read_text())
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert 0.9 < time.monotonic() - began < 5
    assert not procfs.alive(part)


def test_parts_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    process, _ = supervise(tmp_path / "h", "exec sleep 300")
    wait_until((tmp_path / "h" / "run" / "part.pid").exists, "the part runs")
    part = int((tmp_path / "h" / "run" / "part.pid").read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not procfs.alive(part), "the part is gone")
    assert not procfs.alive(part)


HANGING = """
import socket, sys, time
from pathlib import Path
from deploy.local.state_dir import Home
from deploy.local.processes import answers
from deploy.local.supervisor import Part, Supervisor
home = Home(Path(sys.argv[1]))
home.take()
supervisor = Supervisor(home, lambda text: print(text, flush=True))
port = socket.create_server(("127.0.0.1", 0))  # the kernel takes the connections, nobody ever answers them
asked = []
def ready(*within_s):
    asked.append(time.monotonic())
    return answers(f"http://127.0.0.1:{port.getsockname()[1]}/", *within_s)
for name, how in (("hung", {"ready": ready}), ("other", {})):
    part = Part(name=name, command=["/bin/sleep", "300"], environment={"PATH": "/bin:/usr/bin"}, grace_s=1, **how)
    supervisor.start(part)
    part.child.kill()
    part.child.wait()
longest, until = 0.0, time.monotonic() + 6
while time.monotonic() < until:
    began = time.monotonic()
    supervisor.tick()
    longest = max(longest, time.monotonic() - began)
    time.sleep(0.02)
supervisor.stop(["hung", "other"])
closest = min(after - before for before, after in zip(asked, asked[1:]))
print(f"longest tick {longest:.2f} s, closest questions {closest:.2f} s")
"""


def test_a_restarted_part_that_hangs_keeps_neither_the_others_nor_a_stop_waiting(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANGING, str(tmp_path / "h")]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r"longest tick (.+) s, closest questions (.+) s", said)
    assert found is not None, said
    assert float(found[1]) < 2.5, "half a second for the question, and the pauses of a busy machine"
    assert float(found[2]) >= 1.0
    assert "other is back" in said and "hung is back" not in said


SLOW_STEP = """
import signal, sys
from pathlib import Path
from deploy.local import local
from deploy.local.state_dir import Home
local.LONGEST_SILENCE_S = 0.3
home = Home(Path(sys.argv[1]))
home.take()
run = local.Local(home)
run.supervisor.run("slow step", ["/bin/sh", "-c", "sleep 1.5"], {"PATH": "/bin:/usr/bin"}, "/")
"""


def test_a_long_step_reports_progress(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_STEP, str(tmp_path / "h")]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.count("still busy with slow step") >= 2
