"""A small training script with the runner's protocol: counts steps, reports, checkpoints, resumes, stops on request.

Its result is a running hash over the steps, which distinguishes a resumed run from one that skipped or repeated some.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from compute.sandbox import sandbox

job = json.loads(Path("job.json").read_text())
spec = job["inputs"]
if spec.get("open_cuda"):
    import torch

    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError) as error:
        sys.stdout.write(json.dumps({"type": "error", "code": "device", "message": str(error)[:200]}) + "\n")
        sys.exit(69)
sandbox.lock_down()
stopping = False


def ask(*_: object) -> None:
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, ask)


def say(**body: object) -> None:
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()


def checkpoint(step: int, digest: str) -> None:
    new = Path("checkpoint.new")
    new.mkdir(exist_ok=True)
    (new / "state.json").write_text(json.dumps({"step": step, "digest": digest}))
    if Path("checkpoint").exists():
        os.rename("checkpoint", "checkpoint.old")
    os.rename(new, "checkpoint")
    for rest in Path("checkpoint.old").glob("*"):
        rest.unlink()
    if Path("checkpoint.old").exists():
        Path("checkpoint.old").rmdir()
    say(type="checkpoint", step=step)


step, digest = 0, ""
if job["resume"]:
    state = json.loads(Path("checkpoint/state.json").read_text())
    step, digest = state["step"], state["digest"]
    sys.stderr.write(f"resumed at step {step}\n")
resumed_at = step
if spec.get("exit") is not None:
    say(type="error", code="asked", message="the spec asks for this exit")
    if spec["exit"] < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -spec["exit"])
    sys.exit(spec["exit"])
for _ in range(spec.get("dig", 0)):
    os.mkdir("d")
    os.chdir("d")
total = spec["steps"]
while step < total:
    time.sleep(spec["step_s"])
    step += 1
    digest = hashlib.sha256(f"{digest}{step}".encode()).hexdigest()
    say(type="progress", phase="training", done=step, total=total)
    say(type="metric", step=step, values={"loss": 1 / step})
    sys.stderr.write(f"step {step}\n")
    if step % spec.get("every", 5) == 0:
        checkpoint(step, digest)
    if stopping and not spec.get("stubborn"):
        checkpoint(step, digest)
        sys.exit(75)
Path("out/result.json").write_text(json.dumps({"digest": digest, "resumed_at": resumed_at}))
