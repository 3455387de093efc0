"""Every figure of `make bench` still runs. How fast it is decides nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bench

ROOT = Path(bench.__file__).parent.parent


def test_each_figure_runs_tiny_and_says_what_it_saw(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    environment = {name: value for name, value in os.environ.items() if name != "BENCH_PEERS"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", "--results", str(results)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    rows = json.loads(results.read_text())["rows"]
    declared = {
        goal
        for file in (ROOT / "bench").glob("*.py")
        for goal in (line.split('"')[1] for line in file.read_text().splitlines() if line.startswith('@figure("'))
    }
    assert {row["goal"] for row in rows} == declared
    absolute = {name: value for row in rows for name, value in row["absolute"].items()}
    # What compares with servers of others has no ratio without them; it has been loaded all the same.
    alone = {row["goal"] for row in rows if row["measured"] is None}
    assert alone <= {"G-a1", "G-g1"}
    assert absolute["shipped req/s"] > 0
    assert absolute["shipped failed"] == 0
    assert absolute["shipped billed"] > 0
    assert absolute["held req/s"] > 0
    assert all(row["measured"] > 0 for row in rows if row["measured"] is not None)
