"""A hostile training script that attacks its supervisor: reports each attack as a metric (1 = blocked).

With `unfiltered` it only tries to leave its process group, before the filter of system calls, then sleeps.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from compute.sandbox import sandbox

parent = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
affinity = os.sched_getaffinity(0)


def refused(act):
    try:
        act()
    except OSError:
        return 1
    return 0


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno())


def own_a_pipe():
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, parent)


def choose_its_signal():
    fcntl.fcntl(os.pipe()[0], 10, signal.SIGURG)  # F_SETSIG


if json.loads(Path("job.json").read_text())["inputs"].get("unfiltered"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stayed = refused(lambda: os.setpgid(0, os.getpgid(parent)))
    Path("new").write_text(str(stayed))
    os.rename("new", "ready")
    time.sleep(60)
sandbox.lock_down()
with contextlib.suppress(OSError):
    resource.getrlimit(resource.RLIMIT_NOFILE)  # its own limits may be read
probes = {
    "join_its_group": lambda: os.setpgid(0, os.getpgid(parent)),
    "own_group": lambda: os.setpgid(0, 0),
    "own_session": os.setsid,
    "limits": lambda: resource.prlimit(parent, resource.RLIMIT_CPU),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 0),
    "scheduler": lambda: os.sched_setscheduler(parent, os.SCHED_OTHER, os.sched_param(0)),
    "affinity": lambda: os.sched_setaffinity(parent, affinity),
    "outlive": lambda: call("prctl", 1, 0, 0, 0, 0),
    "signal_by_pipe": own_a_pipe,
    "kill_by_pipe": choose_its_signal,
}
blocked = {name: refused(act) for name, act in probes.items()}
sys.stdout.write(json.dumps({"type": "metric", "step": 1, "values": blocked}) + "\n")
