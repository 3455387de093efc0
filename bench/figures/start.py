"""G-h3: `make up` on an empty home with the demo, again with its data, and the idle product's memory."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.database import FRESH
from bench.rows import Options, Row, figure
from config.databases import DATABASE_URLS
from deploy import procfs
from deploy.local.services import free_ports

ROOT = Path(__file__).resolve().parents[2]
FIRST_S, SILENT_S, AGAIN_S, RESIDENT_MB = 60, 10, 10, 1_800
IDLE_S, LONGEST_S = 20, 900


@dataclass(frozen=True)
class Started:
    """Seconds until it was up, the longest silence of its console, and MB resident when idle."""

    seconds: float
    silence: float
    resident: float


@figure("G-h3")
def start(options: Options) -> Iterator[Row]:
    """Measure a first start and the next one on the same home.

    A smoke run starts once, without the demo, on a migrated database.
    """
    home = options.home / "up"
    ports = free_ports(4)
    given = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    given |= {"EXCHEQUER_HOME": str(home), "EXCHEQUER_DEMO": "0" if options.tiny else "1"}
    given |= {"EXCHEQUER_HTTP_PORT": str(ports[0]), "EXCHEQUER_SERVING_PORT": str(ports[1])}
    given |= {"EXCHEQUER_OPERATOR_PORT": str(ports[2]), "EXCHEQUER_INGEST_PORT": str(ports[3])}
    if options.tiny:
        given |= _database_of_its_own(options)
    first = _start(given, options.size(IDLE_S, 0))
    again = first if options.tiny else _start(given, 0)
    data = "without the demo" if options.tiny else "with the demo"
    yield Row("G-h3", f"first start {data}", FIRST_S / first.seconds, 1.0, f"{FIRST_S} s", {"s": first.seconds})
    yield Row(
        "G-h3", "longest silence of a start", SILENT_S / first.silence, 1.0, f"{SILENT_S} s", {"s": first.silence}
    )
    yield Row("G-h3", "next start", AGAIN_S / again.seconds, 1.0, f"{AGAIN_S} s", {"s": again.seconds})
    yield Row("G-h3", "the idle product in memory", RESIDENT_MB / first.resident, 1.0, f"{RESIDENT_MB:,} MB", {"MB": first.resident})  # fmt: skip


def _database_of_its_own(options: Options) -> dict[str, str]:
    """Return the URLs of this run's fresh database, so that none is created and migrated a second time."""
    return {
        name: re.sub(r"@/\w+\?", f"@/{FRESH}?", options.environment(role)[name]) for role, name in DATABASE_URLS.items()
    }


def _start(environment: dict[str, str], idle_s: float) -> Started:
    """Start it, wait until it is up and idle, measure, and stop it. Raises RuntimeError if it does not come up."""
    began = spoke = time.monotonic()
    silence, text = 0.0, ""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        if process.stdout is None:
            raise RuntimeError("the console is not there")
        while "Exchequer is up" not in text:
            found = b""
            if select.select([process.stdout], [], [], 1)[0]:
                found = os.read(process.stdout.fileno(), 65_536)
                if not found:
                    raise RuntimeError(f"it ended while it started: {text[-2000:]}")
            if time.monotonic() - began > LONGEST_S:
                raise RuntimeError(f"it was not up within {LONGEST_S} s: {text[-2000:]}")
            if found:
                text += found.decode(errors="replace")
                silence, spoke = max(silence, time.monotonic() - spoke), time.monotonic()
        took = time.monotonic() - began
        time.sleep(idle_s)
        return Started(took, silence, _resident_mb([process.pid, *procfs.descendants(process.pid)]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _resident_mb(pids: list[int]) -> float:
    """Return the memory of the processes, shared pages counted once (proportional set size)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended, or is not ours to read
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024
