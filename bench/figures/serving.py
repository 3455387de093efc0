"""G-a1: the serving node, with keys, money, spool and monitoring on, against common alternatives."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.load import Seen
from bench.rows import Options, Row, figure
from bench.servers import PEERS_VARIABLE, Load, NotStarted, Server, ask, in_turn, peers
from bench.serving_node import FEATURES, assign_slots, billed, deploy, object_store, write_model
from deploy.local.services import free_ports

OURS, NAIVE = "shipped", "naive FastAPI, 2 workers"
ONE, MANY = 0, 1
LOADS = (Load(1), Load(64))
#: Throughput and p99 at c=64 against naive FastAPI and against the best peer; p50 at c=1 against naive FastAPI.
AIMS = {"naive": (5.0, 8.0), "best": (4.0, 5.0), "one": 1 / 1.1}


@figure("G-a1")
def serving(options: Options) -> Iterator[Row]:
    """Measure requests per second and latencies at 1 and 64 callers, the same eager model behind every server."""
    chance = random.Random(1)
    body = json.dumps({"instances": [[round(chance.gauss(0, 1), 4) for _ in range(FEATURES)]]}).encode()
    model = options.home / "model"
    write_model(model)
    with object_store(options.home) as store, ExitStack() as stack:
        ours, account = _ours(options, store, model, body, stack)
        sides = {OURS: (ours, LOADS)}
        missing = []
        for name, command in _peers().items():
            try:
                port = free_ports(1)[0]
                environment = options.environment("app") | {
                    "BENCH_MODEL": str(model / "peers.pt"),
                    "OMP_NUM_THREADS": "1",
                }
                words = [str(port) if word == "PORT" else word for word in command]
                log = options.home / f"peer-{len(sides)}.log"
                peer = Server(name, words, port, ask("POST", "/predict", body), log, environment)
                stack.callback(peer.close)
                peer.wait()
                peer.freeze()
            except NotStarted as error:
                missing.append(str(error))
                continue
            sides[name] = (peer, LOADS)
        if not peers():
            missing.append(f"no peers: {PEERS_VARIABLE} names no interpreter")
        found = in_turn(options, sides)
        # A figure without billing would be meaningless: report how many responses were paid for.
        deadline = time.monotonic() + 10
        while not (paid := billed(*account)) and time.monotonic() < deadline:
            time.sleep(0.5)
        yield from rows(found, "; ".join(missing), paid)


def rows(found: dict[tuple[str, int], Seen], missing: str = "", paid: int = 0) -> Iterator[Row]:
    """Turn measurements into ratios; `missing` names the peers that did not start."""
    one, many = found[OURS, ONE], found[OURS, MANY]
    failures = sum(seen.failed for (name, _), seen in found.items() if name == OURS)
    naive_one, naive = found.get((NAIVE, ONE)), found.get((NAIVE, MANY))
    others = {name: seen for (name, load), seen in found.items() if load == MANY and name not in (OURS, NAIVE)}
    everything = {f"{name} req/s": seen.rate for (name, load), seen in found.items() if load == MANY}
    slowest = {f"{name} p99 ms": 1000 * seen.p99 for (name, load), seen in found.items() if load == MANY}
    said = f" ({missing})" if missing else ""
    quickest = max(others, key=lambda name: others[name].rate, default="")
    steadiest = min(others, key=lambda name: others[name].p99, default="")
    best, best_p99 = others.get(quickest), others.get(steadiest)
    yield Row("G-a1", "64 callers, requests/s", naive and many.rate / naive.rate, AIMS["naive"][0], NAIVE + said, everything | {"shipped failed": failures, "shipped billed": paid})  # fmt: skip
    yield Row("G-a1", "64 callers, p99", naive and naive.p99 / many.p99, AIMS["naive"][1], NAIVE + said, slowest)
    yield Row("G-a1", "64 callers, requests/s", best and many.rate / best.rate, AIMS["best"][0], f"the best peer, {quickest}{said}")  # fmt: skip
    yield Row("G-a1", "64 callers, p99", best_p99 and best_p99.p99 / many.p99, AIMS["best"][1], f"the best peer, {steadiest}{said}")  # fmt: skip
    alone = {f"{name} p50 us": 1_000_000 * seen.p50 for (name, load), seen in found.items() if load == ONE}
    yield Row("G-a1", "1 caller, p50", naive_one and naive_one.p50 / one.p50, AIMS["one"], NAIVE + said, alone)


def _ours(options: Options, store: dict[str, str], model: Path, body: bytes, stack: ExitStack) -> tuple[Server, tuple]:  # type: ignore[type-arg]
    tenant, endpoint, key = deploy(store, model)
    port = free_ports(1)[0]
    # A frozen node sends no heartbeats: its lease must outlast the others' turns.
    more = {"EXCHEQUER_NODE_ID": "bench", "EXCHEQUER_LEASE_S": "600", "OMP_NUM_THREADS": "1"}
    server = Server(
        OURS, [sys.executable, "-m", "deploy.server.serving", "--port", str(port)], port,
        ask("POST", "/v1/models/bench:predict", body, key), options.home / "serving.log",
        options.environment("app") | store | more,
    )  # fmt: skip
    stack.callback(server.close)
    server.wait(lambda: assign_slots(options))
    return server, (tenant, endpoint)


def _peers() -> dict[str, list[str]]:
    python = peers()
    if not python:
        return {}
    return {
        NAIVE: [python, "-m", "uvicorn", "bench.peers.naive:app", "--port", "PORT", "--workers", "2", "--log-level", "warning"],
        "LitServe": [python, "-m", "bench.peers.lit", "PORT", "1"],
        "LitServe 64, 5 ms": [python, "-m", "bench.peers.lit", "PORT", "64"],
        "BentoML adaptive 64": [
            python, "-m", "bentoml", "serve", "bench.peers.bento:Predictor", "--host", "127.0.0.1", "--port", "PORT",
        ],
    }  # fmt: skip
