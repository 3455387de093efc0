"""The thread that serves one version at one endpoint: load, warm up, then process batches.

Take what waits -> check its keys while decoding and predicting -> record -> respond once the record is on disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

import structlog
import torch

from models_app.recipes.tabular.prediction.block import join
from models_app.recipes.tabular.prediction.predict import Predictor
from models_app.serving.accounting.balance import MILLI, Reservation, SliceBalance, milliseconds
from models_app.serving.accounting.spool import Spool
from models_app.serving.accounting.traffic import Served, TrafficRecorder
from models_app.serving.backend import Assigned
from models_app.serving.engine.batcher import Batcher
from models_app.serving.engine.codec import Codec, Encoded, empty_block
from models_app.serving.engine.loader import CannotLoad, LoadDeferred
from models_app.serving.requests import problems
from models_app.serving.requests.access import PLAYGROUND, Key, KeyChecker, Ticket
from models_app.serving.requests.calls import Call, ServedAnswer, deliver
from models_app.serving.requests.problems import BudgetSpent
from models_app.serving.telemetry import Telemetry
from tenants.errors import ExchequerError

log = structlog.get_logger(__name__)

WARM_SIZES = (1, 2, 4, 8, 16, 32, 64)
PATIENCE_S = 2.0
TRY_AGAIN_S = 2.0


@dataclass(frozen=True)
class WorkerContext:
    """What all workers of a node share."""

    key_checker: KeyChecker
    spool: Spool
    telemetry: Telemetry
    load: Callable[[Assigned], Predictor]
    money_is_low: Callable[[], None]
    changed: Callable[[Worker], None]
    number: Callable[[], int]
    secret: str
    clock: Callable[[], float]
    worked: Callable[[], float] = time.thread_time
    """The processor seconds of the thread that asks. One batch is parsed, predicted and written by one thread of this
    process: torch is held to one thread (`_run`), so no helper works for it uncounted."""


class Worker:
    """One version being served. `state`: loading, ready, failed (`message` says why), closed."""

    def __init__(
        self, assigned: Assigned, balance: SliceBalance, traffic: TrafficRecorder, context: WorkerContext
    ) -> None:
        self.assigned = assigned
        self.order = assigned.order
        self.balance = balance
        self.traffic = traffic
        self.state = "loading"
        self.message = ""
        self.reported = False
        self.batcher: Batcher[Call] = Batcher(clock=context.clock, slo_s=self.order.slo_ms / 1000)
        self._context = context
        self._reading: Codec | None = None
        self._version = quote(self.order.version_label, safe=" .,:;+()[]/@-_").encode()
        self.thread = threading.Thread(target=self._run, name=f"serve-{self.order.name}", daemon=True)

    @property
    def model(self) -> Predictor:
        """The loaded model; only of a worker that is ready."""
        return self._interpreter.model

    @property
    def _interpreter(self) -> Codec:
        if self._reading is None:
            raise problems.NotReady
        return self._reading

    def close(self) -> None:
        """Accept no more calls; those that wait are still answered."""
        self.batcher.close()

    def _run(self) -> None:
        torch.set_num_threads(1)
        if self._load():
            while not self.batcher.drained:
                calls = self.batcher.take(1.0)
                if calls:
                    self._serve_safely(calls)
                    self.batcher.finished()
        for call in self.batcher.take(0):
            call.refuse(problems.NotReady())
            deliver([call])
        self._reading = None
        self.state = "closed"

    def _load(self) -> bool:
        while not self.batcher.closed:
            try:
                model = self._context.load(self.assigned)
                for rows in WARM_SIZES:
                    model.scores(empty_block(model, rows))
            except LoadDeferred as error:
                log.warning("endpoint.load_waits", endpoint=self.order.name, reason=str(error))
                time.sleep(TRY_AGAIN_S)
                continue
            except CannotLoad as error:
                self.state, self.message = "failed", str(error)
            except Exception:
                log.exception("endpoint.load_failed", endpoint=self.order.name)
                self.state, self.message = (
                    "failed",
                    "The model could not be loaded. Your administrator can see the cause in the log.",
                )
            else:
                self._reading = Codec(self.order, model, self._context.secret)
                self.state = "ready"
            self._context.changed(self)
            return self.state == "ready"
        return False

    def _serve_safely(self, calls: list[Call]) -> None:
        try:
            self._serve(calls)
        except Exception:
            log.exception("batch.failed", endpoint=self.order.name, requests=[call.request_id for call in calls])
            for call in calls:
                if call.answer is None:
                    call.refuse(problems.Broken())
            self._refused([call for call in calls if call.answer is not None and call.answer.code])

    def _serve(self, calls: list[Call]) -> None:
        """Answer a batch; calls that the money does not cover wait for the next slice, or are refused.

        Calls abandoned while they waited are skipped: nobody would get the response that is paid for.
        """
        while calls := [call for call in calls if not call.given_up]:
            reservation, paid = self._money(len(calls))
            if reservation is None:
                ticket = self._ask(calls)
                for call in calls:
                    call.refuse(self._no_money())
                self._hide(calls, *self._context.key_checker.good(ticket))
                self._refused(calls)
                return
            try:
                recorded = self._batch(calls[:paid], reservation)
            except BaseException:
                self.balance.settled(reservation)
                raise
            if not recorded:
                self.balance.settled(reservation)
            calls = calls[paid:]

    def _batch(self, calls: list[Call], reservation: Reservation) -> bool:
        """Predict and record one batch; return whether there was anything to record."""
        clock, worked = self._context.clock, self._context.worked
        began, before = clock(), worked()
        ticket = self._ask(calls)
        parsed = self._interpreter.parse(calls)
        answers: list[Encoded] = []
        whole, found = None, None
        if parsed:
            whole = join([one.block for one in parsed])
            found = self.model.scores(whole)
            answers = self._interpreter.answers(parsed, found)
        took, spent = clock() - began, worked() - before
        good, asked = self._context.key_checker.good(ticket)
        # Check before the record: it cannot be undone, so from here on no call may time out.
        awaited = [one for one in answers if one[0].call.keep() and self._fits(one[0].call, len(one[1]))]
        let_in = [one for one in awaited if self._may(one[0].call, good, asked=asked)]
        self._hide(calls, good, asked)
        self._refused([call for call in calls if call.answer is not None])
        if not let_in or whole is None or found is None:
            return False
        # Billed is the thread's own processor time, not wall time: other load on the machine must not cost. Rows of
        # abandoned or faulty calls are charged to nobody, their neighbours in the batch included.
        compute = milliseconds(spent * (sum(parsed.block.rows for parsed, _, _ in awaited) / len(found)))
        rows = sum(parsed.block.rows for parsed, _, _ in let_in)
        past, shared = 0, Decimal(0)
        for one, body, header_length in let_in:  # cut at cumulative bounds, so that the shares add up
            past += one.block.rows
            until = (compute * past / rows).quantize(MILLI)
            one.call.answer = self._answer(body, header_length, reservation, until - shared)
            shared = until
        self._record(
            [one.call for one, _, _ in let_in],
            reservation,
            began,
            took,
            Served(self.order, self.model, whole, found, compute),
        )
        return True

    def _ask(self, calls: list[Call]) -> Ticket:
        """Have the keys of these calls checked."""
        return self._context.key_checker.ask({call.key.digest for call in calls} - {PLAYGROUND})

    def _hide(self, calls: list[Call], good: dict[bytes, Key], asked: bool) -> None:
        """Replace the refusals of calls without a valid key: others name the model's columns, or the budget's state."""
        for call in calls:
            if call.answer is not None:
                self._may(call, good, asked=asked)

    def _may(self, call: Call, good: dict[bytes, Key], *, asked: bool) -> bool:
        if call.key.digest == PLAYGROUND or call.key.digest in good:
            return True
        call.refuse(problems.Unauthenticated() if asked else problems.Unavailable())
        return False

    def _fits(self, call: Call, size: int) -> bool:
        """Count the size of a response against its key until it is read.

        A response over the limit is refused and not charged.
        """
        try:
            call.hold(size)
        except ExchequerError as error:
            call.refuse(error)
            return False
        return True

    def _answer(self, body: bytes, header_length: int | None, reservation: Reservation, ms: Decimal) -> ServedAnswer:
        headers: problems.Headers = [
            (b"content-type", b"application/json" if header_length is None else b"application/octet-stream"),
            (b"x-exchequer-cost", format(reservation.money.cost(1, ms), "f").encode()),
            (b"x-exchequer-model-version", self._version),
        ]
        if header_length is not None:
            headers.append((b"inference-header-content-length", str(header_length).encode()))
        return ServedAnswer(200, headers, body)

    def _record(self, calls: list[Call], reservation: Reservation, began: float, took: float, served: Served) -> None:
        """Write the batch's record; its responses are sent once it is on disk."""
        money, compute = reservation.money, served.compute_ms
        self.balance.spend(reservation, len(calls), compute)
        if self.balance.running_low:
            self._context.money_is_low()
        record = {
            "tenant": str(self.order.tenant_id), "endpoint": str(self.order.endpoint_id), "name": self.order.name,
            "project": str(money.project_id), "n": self._context.number(), "slice": money.number,
            "hold": str(money.hold_id) if money.hold_id else None, "at": reservation.moment(began).isoformat(),
            "us": max(1, int(took * 1_000_000)), "requests": len(calls), "ms": str(compute),
        }  # fmt: skip

        def on_durable(safe: bool) -> None:
            if not safe:
                self.balance.undo(reservation, len(calls), compute)
                for call in calls:
                    call.refuse(problems.UsageNotRecorded())
                self._refused(calls)
                return
            deliver(calls)
            now = self._context.clock()
            latencies = [now - call.arrived for call in calls]
            self._context.telemetry.batch(latencies, served.block.rows, took)
            self.traffic.record(served, latencies)

        self._context.spool.append(record, on_durable, here=not len(self.batcher))

    def _refused(self, calls: list[Call]) -> None:
        """Send refusals at once and count them; abandoned calls were already refused and counted by the gateway."""
        deliver(calls)
        for call in calls:
            if call.answer is not None and not call.given_up:
                self._context.telemetry.refuse(call.answer.code)
                self.traffic.refused(self.order, call.answer.code)

    def _money(self, wanted: int) -> tuple[Reservation | None, int]:
        reservation, paid = self.balance.begin(wanted)
        if reservation is None and not self.balance.state:
            self._context.money_is_low()
            self.balance.answered.wait(PATIENCE_S)
            reservation, paid = self.balance.begin(wanted)
        return reservation, paid

    def _no_money(self) -> ExchequerError:
        if self.balance.state == BudgetSpent.code:
            return BudgetSpent(retry_after=30)
        return problems.Unavailable()
