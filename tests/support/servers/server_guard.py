"""Run one command for as long as another process lives: `python server_guard.py PID -- COMMAND...`.

A killed test session cannot stop its servers; the guard beside each of them can.
"""

import os
import signal
import subprocess
import sys
import time


def main() -> int:
    """Start the command; end it when the watched process is gone or this one is asked to end."""
    watched, _, *command = sys.argv[1:]
    account = {}
    if command[0].startswith("--user="):
        uid, gid = (int(part) for part in command.pop(0).removeprefix("--user=").split(":"))
        account = {"user": uid, "group": gid, "extra_groups": []}
    child = subprocess.Popen(command, cwd="/", **account)  # type: ignore[call-overload]
    asked = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    while child.poll() is None and not asked and os.path.exists(f"/proc/{watched}"):
        time.sleep(0.2)
    if child.poll() is None:
        child.send_signal(signal.SIGQUIT if "postgres" in command[0] else signal.SIGKILL)
    return child.wait()


if __name__ == "__main__":
    raise SystemExit(main())
