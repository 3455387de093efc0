"""A hostile training script: tries nineteen ways out of the sandbox and reports each as a metric (1 = blocked)."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from compute import sandbox

with contextlib.suppress(ImportError):
    import torch  # noqa: F401  (the heavy import comes first, as in a real runner)

parent = os.getppid()
outside = Path(__file__).resolve().parents[3]
inputs = json.loads(Path("job.json").read_text())["inputs"]
sandbox.lock_down()


def refused(act):
    try:
        act()
    except (OSError, MemoryError, subprocess.SubprocessError, ValueError):
        return 1
    return 0


def inet():
    socket.create_connection(("127.0.0.1", int(inputs["port"])), timeout=1)


def unix():
    socket.socket(socket.AF_UNIX).connect(inputs["socket"])


def trace():
    if ctypes.CDLL(None, use_errno=True).ptrace(16, parent, 0, 0) != 0:
        raise OSError(ctypes.get_errno())


def hoard():
    block = bytearray(12 * 1024**3)
    block[-1] = 1


def flood_files():
    handles = [open("/dev/null") for _ in range(500)]  # noqa: SIM115
    handles.clear()


def big_file():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("big", "wb") as file:
        file.truncate(resource.getrlimit(resource.RLIMIT_FSIZE)[0] + 1)


def own_file():
    """Return a file that only the filter keeps from changes: it is the child's own, in its own folder."""
    Path("own").touch()
    return "own"


def secrets_in_environment():
    if not [name for name in os.environ if any(word in name for word in ("KEY", "URL", "SECRET", "PASSWORD", "HOME"))]:
        raise OSError("none")


probes = {
    "tcp": inet,
    "unix_socket": unix,
    "dns": lambda: urllib.request.urlopen("http://localhost/", timeout=1),
    "exec": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
    "spawn": lambda: subprocess.run(["/bin/true"], check=True),
    "fork": lambda: os.fork() or os._exit(0),
    "trace_parent": trace,
    "signal_parent": lambda: os.kill(parent, 0),
    "read_other_file": lambda: Path(inputs["secret"]).read_text(),
    "read_parent_environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "read_passwords": lambda: Path("/etc/passwd").read_text(),
    "write_outside": lambda: (outside / "canary.txt").write_text("x"),
    "memory": hoard,
    "open_files": flood_files,
    "big_file": big_file,
    "change_mode": lambda: os.chmod(own_file(), 0o600),
    "change_owner": lambda: os.chown(own_file(), os.getuid(), os.getgid()),
    "change_times": lambda: os.utime(own_file(), (0, 0)),
    "change_attributes": lambda: os.setxattr(own_file(), "user.canary", b"x"),
}
blocked = {name: refused(act) for name, act in probes.items()}
blocked["no_secret_in_environment"] = refused(secrets_in_environment)
Path("out").mkdir(exist_ok=True)
Path("out/result.json").write_text(json.dumps({"blocked": blocked}))
sys.stdout.write(json.dumps({"type": "metric", "step": 1, "values": blocked}) + "\n")
sys.exit(0)
