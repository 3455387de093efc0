"""A hostile training script: tries every way out of the sandbox and reports each as a metric (1 = blocked)."""

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from compute.sandbox import sandbox

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


def raw(call, *arguments):
    """Return a function that makes one system call by its number on this machine."""
    number = CALLS[call][platform.machine() == "aarch64"]

    def act():
        if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), call)

    return act


def note(name):
    return ctypes.c_char_p(name.encode())


CALLS = {
    "inotify_init1": (294, 26), "fanotify_init": (300, 262), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "bpf": (321, 280), "keyctl": (250, 219), "process_vm_readv": (310, 270),
    "memfd_create": (319, 279), "timer_create": (222, 107), "seccomp": (317, 277), "prctl": (157, 167),
    "shmget": (29, 194), "mq_open": (240, 180), "signalfd4": (289, 74), "unshare": (272, 97), "setns": (308, 268),
    "chroot": (161, 51), "mount": (165, 40), "landlock_create_ruleset": (444, 444), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "fsopen": (430, 430), "syslog": (103, 116), "process_madvise": (440, 440),
    "vmsplice": (278, 75), "symlinkat": (266, 36), "linkat": (265, 37), "mknodat": (259, 33),
    "unknown_to_our_table": (1000, 1000),
}  # fmt: skip
buffer = ctypes.create_string_buffer(64)
raw_arguments = {
    "name_to_handle_at": (-100, note("."), buffer, buffer, 0),
    "io_uring_setup": (1, ctypes.create_string_buffer(120)),
    "keyctl": (0, -2, 0),
    "process_vm_readv": (parent, buffer, 1, buffer, 1, 0),
    "memfd_create": (note("x"), 0),
    "timer_create": (1, None, buffer),
    "seccomp": (0, 0, None),
    "prctl": (22, 1, None),
    "shmget": (0, 4096, 0o1600),
    "mq_open": (note("x"), 0o102, 0o600, None),
    "unshare": (0,),
    "chroot": (note("."),),
    "landlock_create_ruleset": (None, 0, 1),
    "kcmp": (parent, parent, 0, 0, 0),
    "pidfd_open": (parent, 0),
    "syslog": (10, None, 0),
    "symlinkat": (note("/etc"), -100, note("link")),
    "linkat": (-100, note("job.json"), -100, note("second"), 0),
    "mknodat": (-100, note("pipe"), 0o010600, 0),
}


def raise_limit():
    resource.setrlimit(resource.RLIMIT_CPU, (10_000, 10_000))


def hoard():
    block = bytearray(12 * 1024**3)
    block[-1] = 1


def refuse():
    raise OSError("no")


def flood_files():
    handles = [open("/dev/null") for _ in range(500)]  # noqa: SIM115
    handles.clear()


def big_file():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("big", "wb") as file:
        file.truncate(resource.getrlimit(resource.RLIMIT_FSIZE)[0] + 1)


def own_file():
    """Return a file that only the filter protects: it is the child's own, in its own folder."""
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
    "look_up_other_file": lambda: os.stat(inputs["secret"]),
    "ask_access_of_other_file": lambda: None if os.access(inputs["secret"], os.F_OK) else refuse(),
    "look_up_passwords": lambda: os.stat("/etc/passwd"),
    "write_to_program": lambda: open(sandbox.__file__, "a").close(),
    "remove_program": lambda: os.unlink(Path(sandbox.__file__).with_name("process.py")),
    "write_beside_program": lambda: (Path(sandbox.__file__).with_name("canary.txt")).touch(),
    "write_above": lambda: Path("../canary.txt").touch(),
    "write_to_root": lambda: Path("/canary.txt").touch(),
    "look_up_parent": lambda: os.stat(f"/proc/{parent}"),
    "list_folder_above": lambda: os.listdir(".."),
    "leave_by_its_root": lambda: os.stat("/proc/self/root/etc/passwd"),
    "set_limits": raise_limit,
    "kill_itself": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "end_itself": lambda: signal.raise_signal(signal.SIGTERM),
    **{call: raw(call, *raw_arguments.get(call, (0, 0, 0, 0))) for call in CALLS},
    "change_attributes": lambda: os.setxattr(own_file(), "user.canary", b"x"),
}
blocked = {name: refused(act) for name, act in probes.items()}
blocked["no_secret_in_environment"] = refused(secrets_in_environment)
Path("out").mkdir(exist_ok=True)
Path("out/result.json").write_text(json.dumps({"blocked": blocked}))
for names in (list(blocked)[:40], list(blocked)[40:]):
    said = {"type": "metric", "step": 1, "values": {name: blocked[name] for name in names}}
    sys.stdout.write(json.dumps(said) + "\n")
sys.exit(0)
