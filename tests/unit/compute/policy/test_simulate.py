"""`manage.py simulate`: traces, figures and refusals."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from django.core.management import CommandError, call_command

from compute.simulation.rules import pooled
from compute.simulation.traces import read

HEAD = "submit_time,duration,num_gpu\n"


def trace(folder: Path, seed: int = 7) -> Path:
    """Write a month of two tenants: one bursts, one works steadily."""
    for tenant in ("bursts", "steady"):
        chance, rows = Random(f"{seed}{tenant}"), []
        for _ in range(120):
            at = chance.choice([2, 9, 23]) * 86_400_000 if tenant == "bursts" else chance.randrange(30 * 86_400_000)
            rows.append(
                (at + chance.randrange(3_600_000), int(chance.expovariate(1 / 3e7)), chance.choice([1, 1, 2, 8]))
            )
        lines = [",".join(map(str, row)) for row in sorted(rows)]
        (folder / f"{tenant}.csv").write_text(HEAD + "\n".join(lines), encoding="utf-8")
    return folder


def said(*asked: str) -> str:
    out = StringIO()
    call_command("simulate", *asked, stdout=out)
    return out.getvalue()


def test_one_pool_waits_less_than_walls_and_nobody_is_worse_off(tmp_path: Path) -> None:
    found = json.loads(said("--trace", str(trace(tmp_path)), "--load", "0.7", "--json"))
    static, pooled, limit = found["static"], found["pooled"], found["oracle"]
    assert set(static) == {"mean_queue_s", "mean_jct_s", "utilisation", "idle_while_queued", "stops"}
    assert pooled["mean_queue_s"] * 3 < static["mean_queue_s"]
    assert limit["mean_jct_s"] <= pooled["mean_jct_s"] < static["mean_jct_s"]
    assert found["worst_tenant_jct_ratio"] >= 1
    assert "completes" in said("--trace", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no jobs in its first 30 days"),
        (HEAD + "1,2,x\n", "wrong.csv, line 2: give submit_time and duration in milliseconds"),
        (HEAD + "1,2,0\n", "num_gpu is 1 or more"),
        (HEAD.strip() + ",job_set,most_at_once\n1,2,1,,3\n", "most_at_once is 1 or more, and of a job_set"),
        (HEAD.strip() + ",job_set,most_at_once\n1,2,1,a,0\n", "most_at_once is 1 or more, and of a job_set"),
        ("submit_time,num_gpu\n1,2\n", "give submit_time and duration"),
    ],
)
def test_a_trace_with_a_fault_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=message):
        said("--trace", str(file))


def test_a_load_beyond_all_and_a_missing_trace_are_refused(tmp_path: Path) -> None:
    for asked in (["--trace", str(tmp_path / "none.csv")], ["--trace", str(tmp_path), "--load", "1.5"]):
        with pytest.raises(CommandError, match=r"There is no CSV|Give a load"):
            said(*asked)


def test_a_replay_keeps_to_what_of_a_set_may_run_at_once(tmp_path: Path) -> None:
    rows = [f"{number},600000,1,sweep,2" for number in range(6)]
    (tmp_path / "one.csv").write_text(HEAD.strip() + ",job_set,most_at_once\n" + "\n".join(rows), encoding="utf-8")
    jobs = read(tmp_path / "one.csv")
    ends = sorted(run.ended_at for run in pooled(jobs, {"one": 6}).runs)
    assert [round(one, -1) for one in ends] == [600, 600, 1200, 1200, 1800, 1800]
