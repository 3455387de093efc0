"""Measure every figure and print one table of ratios; also write it to `bench/results.json`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench import figures
from bench.database import database
from bench.rows import FIGURES, Options, Row

RESULTS = Path(__file__).with_name("results.json")


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks; always return 0: a slow machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", metavar="GOAL", help="measure only this goal, such as G-b3")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median counts")
    parser.add_argument("--trace", type=Path, help="a published trace for the figures that replay one")
    parser.add_argument(
        "--tiny", action="store_true", help="hardly any data, one round: whether each figure still runs"
    )
    parser.add_argument("--share", type=float, default=0.02, help="how much of 10 million events G-b4 fills; 1 is all")
    parser.add_argument("--server", type=Path, help="a running server's folder, with both databases migrated")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write the rows as JSON")
    asked = parser.parse_args(argv)
    rounds = 1 if asked.tiny else asked.rounds
    with tempfile.TemporaryDirectory(prefix="exq-bench-", dir="/tmp") as folder:
        home = Path(folder)
        # The database's account must be able to reach its own folder inside.
        home.chmod(0o711)
        with database(home, asked.server) as (environment, superuser):
            os.environ.update(environment("app"))
            options = Options(rounds, asked.trace, home, environment, superuser, asked.tiny, asked.share)
            rows = measure(options, asked.only)
    print(table(rows))
    kept = other_results(asked.results, {row.goal for row in rows}) if asked.only else []
    written = kept + [{**asdict(row), "met": row.met} for row in rows]
    asked.results.write_text(json.dumps({"machine": machine(), "rows": written}, indent=2) + "\n")
    return 0


def other_results(results: Path, measured: set[str]) -> list[dict[str, object]]:
    """Return earlier rows of goals that were not measured now."""
    if not results.exists():
        return []
    return [row for row in json.loads(results.read_text())["rows"] if row["goal"] not in measured]


def measure(options: Options, only: list[str] | None) -> list[Row]:
    """Import every figure and run the selected ones, in order of their goals."""
    import django

    django.setup()
    for module in pkgutil.walk_packages(figures.__path__, f"{figures.__name__}."):
        importlib.import_module(module.name)
    rows: list[Row] = []
    for goal in sorted(FIGURES):
        if only is None or goal in only:
            rows.extend(FIGURES[goal](options))
    return rows


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| goal | what | measured | aim | met | against | absolute |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        absolute = ", ".join(f"{name} {value:,.0f}" for name, value in row.absolute.items())
        met = "yes" if row.met else "no"
        measured = "not measured" if row.measured is None else f"{row.measured:.2f}x"
        lines.append(
            f"| {row.goal} | {row.what} | {measured} | {row.aim:.2f}x | {met} | {row.reference} | {absolute} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Return a description of the machine."""
    return {"python": platform.python_version(), "cores": str(os.cpu_count()), "system": platform.platform()}
