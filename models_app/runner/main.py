"""The sandboxed child: reads job.json in its working folder, locks itself down, trains, predicts or ingests.

Started by the supervisor as `python -I .../models_app/runner/main.py --attempt ID` with an empty environment.
Exit codes: 0 done, 65 the input is at fault, 69 the device could not be opened, 75 stopped on request.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from compute.sandbox import sandbox  # noqa: E402 - the path above makes it importable
from models_app.recipes.base import prediction_module, training_module  # noqa: E402
from models_app.runner.device import open_device, restrict_visibility  # noqa: E402
from models_app.runner_protocol import (  # noqa: E402
    EXIT_CRASH,
    EXIT_DEVICE,
    EXIT_INPUT,
    EXIT_OK,
    EXIT_STOPPED,
    Context,
    DeviceUnavailable,
    InputError,
    Reporter,
    StopRequested,
    claim_stdout,
    note,
)

STOP_PATIENCE_S = 1.5
"""The process ends at most this long after a request to stop; the supervisor's own grace period is 5 s."""

INGEST_MODULE = "models_app.tables.reader.ingest"
MODULE_OF = {"train": training_module, "predict": prediction_module}
"""Tasks that need a device, and their modules; every other task reads a file."""


class StopSignal:
    """Becomes true once the supervisor sends SIGTERM.

    Until it is first read there is nothing worth saving, so the process just ends: imports may take longer than the
    grace period. After `bound` the process ends in time with its last checkpoint, even if a single step takes minutes:
    Python delivers a signal to the main thread only between two calls into a library.
    """

    def __init__(self) -> None:
        self.requested = self.asked = False
        signal.signal(signal.SIGTERM, self._receive)

    def __call__(self) -> bool:
        self.asked = True
        return self.requested

    def bound(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Watch for the request in a thread too, and end the process `patience_s` after it came."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

        def watch() -> None:
            while os.read(reader, 1)[0] != signal.SIGTERM:
                pass
            time.sleep(patience_s)
            os.write(2, b"asked to stop: ended in the middle of a step, the last checkpoint stands\n")
            os._exit(EXIT_STOPPED)

        threading.Thread(target=watch, daemon=True, name="stop").start()

    def _receive(self, signum: int, frame: object) -> None:
        self.requested = True
        if not self.asked:
            os._exit(EXIT_STOPPED)


def main(arguments: list[str]) -> int:
    """Run the attempt named on the command line and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--attempt", required=True)
    attempt = parser.parse_args(arguments).attempt
    stopping = StopSignal()
    report = Reporter(claim_stdout())
    workdir = Path.cwd()
    job = json.loads((workdir / "job.json").read_text(encoding="utf-8"))
    if str(job["attempt"]) != attempt:
        report.error("wrong_attempt", "The working folder belongs to another attempt.")
        return EXIT_CRASH
    try:
        run(job, workdir, report, stopping)
    except InputError as error:
        report.error(error.code, error.message)
        return EXIT_INPUT
    except DeviceUnavailable as error:
        report.error("device_unavailable", str(error))
        return EXIT_DEVICE
    except StopRequested:
        return EXIT_STOPPED
    except MemoryError:
        report.error(
            "out_of_memory", "The job needs more memory than the limit allows. Use a smaller dataset or network."
        )
        return EXIT_INPUT
    except sandbox.SandboxIncomplete:
        raise  # the confined process handles it
    except Exception as error:  # noqa: BLE001 - a traceback in the log would show the host
        report.error("internal_error", f"The program failed with an internal error ({place_of(error)}).")
        return EXIT_CRASH
    return EXIT_OK


def place_of(error: Exception) -> str:
    """Return what failed and where, as `KeyError: train.py 41 > table.py 7`: no host paths, no data values."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{type(error).__name__}: {' > '.join(f'{Path(one.filename).name} {one.lineno}' for one in frames)}"


def run(job: dict[str, Any], workdir: Path, report: Reporter, stopping: StopSignal) -> None:
    """Import the task's code, open the device, lock the process down, then touch the data."""
    started = time.monotonic()
    gc.disable()  # while everything is loaded: torch makes a million objects that stay, and no garbage
    device = None
    if job["task"] in MODULE_OF:
        restrict_visibility(job["device"])
        task = importlib.import_module(MODULE_OF[job["task"]](job["recipe"]))
        device = open_device(job["device"], int(job.get("threads") or 1))
    else:
        task = importlib.import_module(INGEST_MODULE)
    task.warm_up()
    gc.freeze()
    gc.enable()
    lock_down()
    report.progress("starting", 0, 1)  # from here on, a failing device no longer counts as unavailable
    spent = time.monotonic() - started
    note(f"runner: ready after {spent:.1f} s")
    stopping.bound()
    task.run(Context(workdir=workdir, job=job, report=report, stopping=stopping, device=device))


def lock_down() -> None:
    """Drop every right that the task does not need.

    `compute/sandbox/launch.py` has confined the process already; the policy it read applies here too. Layers that the
    host lacks are reported to the supervisor and shown to operators, not in a job's log, which belongs to its owner.
    """
    sandbox.lock_down()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
