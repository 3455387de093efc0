"""A hostile training script that hides its resources. `how`: `leader`, `mapped`, `threads` or `talk`; then it sleeps."""

import ctypes
import json
import os
import platform
import sys
import threading
import time
from pathlib import Path

from compute.sandbox import sandbox

MIB = 1024 * 1024
how = json.loads(Path("job.json").read_text())["inputs"]["how"]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
sandbox.lock_down()


def ready() -> None:
    Path("new").write_text("1")
    os.rename("new", "ready")


def unnamed() -> int:
    """Return a descriptor of a deleted file of 8 MiB."""
    file = os.open("gone", os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(8 * MIB))
    os.unlink("gone")
    return file


def take(main: int) -> None:
    """Hold memory and a file after the main thread has ended."""
    held = b"x" * (64 * MIB)
    file = unnamed()
    while Path(f"/proc/self/task/{main}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    ready()
    time.sleep(120)
    os.write(file, held)


if how == "leader":
    threading.Thread(target=take, args=(threading.get_native_id(),)).start()
    libc.syscall(93 if platform.machine() == "aarch64" else 60, 0)
elif how == "mapped":
    file = unnamed()
    libc.mmap(None, 4096, 1, 2, file, 0)
    os.close(file)
    ready()
elif how == "threads":
    threading.stack_size(64 * 1024)
    for _ in range(5_000):
        threading.Thread(target=time.sleep, args=(120,), daemon=True).start()
elif how == "talk":
    for step in range(20_000):
        sys.stdout.write(json.dumps({"type": "checkpoint", "step": step}) + "\n")
    sys.stdout.flush()
    ready()
time.sleep(120)
