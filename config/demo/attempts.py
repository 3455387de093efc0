"""Attempts of the demo: heartbeats, training, success and failure; with the money, logs and curves they leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from random import Random

from compute import kinds
from compute.jobs import jobs
from compute.leases import leases
from compute.models import Job, Outcome
from compute.sandbox.protocol import Metric
from config.demo.children import Done
from config.demo.simulation import AttemptScript, Simulation
from config.demo.workload import Launch
from tenants.access.actor import Actor

Scripted = Callable[[leases.Claim], AttemptScript]

BEAT_S = 2_400
MARGIN_S = 0.5
"""The clock is moved a little beyond the seconds that a heartbeat reports, so that none of them is cut."""

GIB = 2**30
DIVERGED = "The loss is no longer a number after epoch {epoch}. Lower the learning rate."
CRASHED = "The process ended with exit code -11."


class StopRequested(Exception):
    """A heartbeat reply requested the attempt to stop, after so many seconds."""

    def __init__(self, outcome: Outcome, elapsed: float) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.elapsed = elapsed


class Run:
    """The attempts of one job. `chance` is the job's own random source, so that no job changes another."""

    def __init__(self, simulation: Simulation, job: Job, actor: Actor, launch: Launch) -> None:
        self.simulation = simulation
        self.job = job
        self.actor = actor
        self.launch = launch
        self.chance = Random(launch.seed)
        self.tries = 0
        self.number = 0
        self.line = 0

    def __call__(self, mine: leases.Claim) -> AttemptScript:
        """Run one attempt as a node would: it ends when its heartbeat reply says so."""
        try:
            return (yield from self._choose(mine))
        except StopRequested as asked:
            leases.finish(mine, asked.outcome, leases.Heartbeat(elapsed=asked.elapsed), exit_code=75)
            return False

    def _choose(self, mine: leases.Claim) -> AttemptScript:
        """Return the script of this attempt: the first one may fail, a later one succeeds unless the job is poison."""
        self.tries += 1
        self.number = self.line = 0
        outcome, share = self.launch.outcome, self.chance.uniform(0.2, 0.8)
        seconds = float(self.launch.seconds)
        if outcome == "poison" or (outcome == "crashes_once" and self.tries == 1):
            return self._crash(mine, seconds * share / 3)
        if outcome == "is_killed" and self.tries == 1:
            return self._killed(mine, seconds * share)
        if outcome == "diverges":
            return self._diverge(mine, min(seconds, 400) * share)
        if outcome == "is_cancelled":
            return self._cancelled(mine, seconds * share)
        if outcome == "is_paused" and self.tries == 1:
            return self._paused(mine, seconds * share)
        if outcome == "runs_out_of_time":
            return self._limited(mine, float(self.job.max_seconds))
        return self._succeed(mine, seconds)

    def _succeed(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds)
        best = 1 - self.chance.uniform(0.02, 0.11)
        figures = {"accuracy": round(best, 4), "log_loss": round(self.chance.uniform(0.08, 0.3), 4)}
        self._say(beat, f"finished: accuracy {best:.4f} on rows that it never saw")
        leases.finish(mine, Outcome.SUCCEEDED, beat, exit_code=0, complete=lambda job: {"metrics": figures})
        return False

    def _diverge(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds, upto=0.1)
        message = DIVERGED.format(epoch=max(1, round(self.launch.epochs * 0.1)) + 1)
        self._say(beat, message)
        leases.finish(mine, Outcome.USER_ERROR, beat, message=message, exit_code=65)
        return False

    def _crash(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds, upto=0.3)
        leases.finish(mine, Outcome.CRASHED, beat, message=CRASHED, exit_code=-11)
        return self.tries < 3

    def _killed(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds, upto=0.6)
        leases.finish(mine, Outcome.KILLED, beat, message="The process was ended from outside.", exit_code=-9)
        return True

    def _limited(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds, upto=0.8)
        leases.finish(mine, Outcome.TIME_LIMIT, beat, message="The time limit was reached.", exit_code=75)
        return False

    def _cancelled(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds, upto=0.5)
        leases.heartbeat(mine, beat)
        jobs.cancel(actor=self.actor, job_id=self.job.id, reason="Another setting did better meanwhile.")
        yield 1.0
        leases.finish(mine, Outcome.CANCELLED, leases.Heartbeat(elapsed=seconds + 1), exit_code=-9)
        return False

    def _paused(self, mine: leases.Claim, seconds: float) -> AttemptScript:
        beat = yield from self._learn(mine, seconds, upto=0.5)
        leases.heartbeat(mine, beat)
        jobs.pause(actor=self.actor, job_id=self.job.id)
        yield 2.0 + MARGIN_S
        leases.finish(mine, Outcome.PAUSED, leases.Heartbeat(elapsed=seconds + 2), exit_code=75)
        self.simulation.later(self.chance.uniform(0.5, 3) * 3600, self._resume)
        return False

    def _resume(self) -> None:
        self.simulation.queue(jobs.resume(actor=self.actor, job_id=self.job.id), self)

    def _learn(self, mine: leases.Claim, seconds: float, upto: float = 1.0) -> Generator[float, None, leases.Heartbeat]:
        """Send heartbeats until `seconds` have run; return the last one, which the end of the attempt carries."""
        epochs = self.launch.epochs
        beats = max(1, math.ceil(seconds / BEAT_S))
        done = 0
        for at in range(1, beats + 1):
            yield seconds / beats + (MARGIN_S if at == 1 else 0.0)
            elapsed = seconds * at / beats
            to = max(done + 1, round(epochs * upto * at / beats))
            points = [Metric(step, self._values(step, epochs)) for step in range(done + 1, to + 1)]
            left = round((epochs - to) * elapsed / to, 1)
            beat = leases.Heartbeat(
                elapsed=elapsed,
                progress={"phase": "training", "done": to, "total": epochs, "eta_s": left},
                metrics=points,
            )
            if at == 1:
                beat.layers = []
                self._say(beat, "runner: ready after 2.4 s")
                self._say(beat, f"learning with {self.launch.width} units, learning rate {self.launch.rate}")
            last = points[-1].values
            self._say(
                beat,
                f"epoch {to} of {epochs}: train_loss {last['train_loss']:.4f}, val_loss {last['val_loss']:.4f}",
            )
            self._sample(beat, seconds / beats)
            done = to
            if at < beats:
                answer = leases.heartbeat(mine, beat)
                if answer.stop is not None:
                    raise StopRequested(answer.stop, elapsed)
        return beat

    def _say(self, beat: leases.Heartbeat, text: str) -> None:
        beat.logs.append((self.line, text))
        self.line += 1

    def _sample(self, beat: leases.Heartbeat, seconds: float) -> None:
        self.number += 1
        busy = min(0.99, max(0.05, self.chance.gauss(0.83 if self.launch.width > 100 else 0.64, 0.09)))
        memory = int(GIB * self.chance.uniform(0.4, 1.1))
        beat.samples.append(leases.Sample(seconds, busy, memory, number=self.number))

    def _values(self, step: int, epochs: int) -> dict[str, float]:
        share, wobble = step / epochs, self.chance.gauss(0, 0.008)
        loss = 0.09 + 0.6 * math.exp(-5 * share * (self.launch.rate / 0.001) ** 0.3)
        return {
            "train_loss": round(loss + wobble, 5),
            "val_loss": round(loss + 0.03 + 0.04 * share**2 + 1.6 * wobble, 5),
            "val_accuracy": round(min(0.995, 0.97 - 0.4 * math.exp(-6 * share) + wobble), 5),
        }


def real(job: Job, done: Callable[[], Done], seconds: float, then: Callable[[], None]) -> Scripted:
    """Return a script that ends with a real child's output: its metrics, log and files; it took `seconds`."""

    def script(mine: leases.Claim) -> AttemptScript:
        yield seconds / 2 + MARGIN_S
        child = done()
        half = len(child.metrics) // 2
        leases.heartbeat(
            mine,
            leases.Heartbeat(
                elapsed=seconds / 2,
                layers=[],
                metrics=child.metrics[:half],
                samples=[leases.Sample(seconds / 2, 0.81, GIB // 2, number=1)],
            ),
        )
        yield seconds / 2
        kind = kinds.get(job.kind)
        collected = kind.collect(mine.job, mine.token, child.folder)
        last = leases.Heartbeat(
            elapsed=seconds,
            progress={"phase": "done"},
            metrics=child.metrics[half:],
            logs=list(enumerate(child.lines)),
            samples=[leases.Sample(seconds / 2, 0.9, GIB // 2, number=2)],
        )
        leases.finish(mine, Outcome.SUCCEEDED, last, exit_code=0, complete=lambda view: kind.complete(view, collected))
        then()
        return False

    return script
