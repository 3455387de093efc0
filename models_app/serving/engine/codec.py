"""Decode the bodies of a batch into one block of rows, and encode the outputs as one response per call."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from models_app.endpoints.deployments import EndpointSpec
from models_app.measures import prediction_id
from models_app.recipes.tabular.prediction.block import Block
from models_app.recipes.tabular.prediction.predict import Predictor
from models_app.recipes.tabular.prediction.request_values import BadInstance
from models_app.serving.requests import problems, protocol_v1, protocol_v2
from models_app.serving.requests.calls import Call
from tenants.errors import ExchequerError

MOST_WARNINGS = 20

log = structlog.get_logger(__name__)

Encoded = tuple["Parsed", bytes, int | None]
"""A decoded call, its response body and, if binary tensors follow, the length of the JSON part."""


@dataclass(slots=True)
class Parsed:
    """A call with decoded rows; `at` is their start in the joint block."""

    call: Call
    block: Block
    request: protocol_v2.Request | None
    at: int = 0


class Codec:
    """Decodes and encodes calls for one loaded version."""

    def __init__(self, order: EndpointSpec, model: Predictor, secret: str) -> None:
        self.order = order
        self.model = model
        self._sign = prediction_id.derive_key(secret, order.endpoint_id)

    def parse(self, calls: Sequence[Call]) -> list[Parsed]:
        """Decode the rows of every call, protocol 1 in one stack. A faulty call gets its own error response."""
        intake = self.model.intake
        outputs = protocol_v2.output_names(len(self.model.classes))
        found: list[Parsed] = []
        plain: list[tuple[Call, list[Any]]] = []
        for call in calls:
            try:
                if call.protocol == 1:
                    plain.append((call, protocol_v1.parse(call.body)))
                else:
                    request = protocol_v2.parse(call.body, call.header_length, intake, outputs)
                    found.append(Parsed(call, request.block, request))
            except BadInstance as error:
                call.refuse(bad_instance(error))
            except ExchequerError as error:
                call.refuse(error)
            except Exception:
                log.exception("request.not_understood", request_id=call.request_id)
                call.refuse(_not_understood())
        for call, block in self._stacked(plain):
            if isinstance(block, BadInstance):
                call.refuse(bad_instance(block))
            else:
                found.append(Parsed(call, block, None))
        at = 0
        for one in found:
            one.at = at
            one.call.rows = one.block.rows
            at += one.block.rows
        return found

    def _stacked(self, plain: list[tuple[Call, list[Any]]]) -> Iterator[tuple[Call, Block | BadInstance]]:
        """Decode rows of protocol 1 in one stack; on failure decode each call alone, so that only the faulty one fails."""
        if not plain:
            return
        intake = self.model.intake
        try:
            yield from zip([call for call, _ in plain], intake.stack([rows for _, rows in plain]), strict=True)
            return
        except Exception:
            log.exception("stack.failed", requests=[call.request_id for call, _ in plain])
        for call, rows in plain:
            try:
                (block,) = intake.stack([rows])
            except Exception:
                log.exception("request.not_understood", request_id=call.request_id)
                call.refuse(_not_understood())
            else:
                yield call, block

    def answers(self, parsed: list[Parsed], found: NDArray[np.float64]) -> list[Encoded]:
        """Return the response of each call, with a warning for each category unseen in training."""
        model, order = self.model, self.order
        predictions = model.answers(found) if any(one.request is None for one in parsed) else []
        names = self._names(found) if predictions else []
        made: list[Encoded] = []
        for one in parsed:
            start, end = one.at, one.at + one.block.rows
            warnings = self._warnings(one.block)
            if one.request is None:
                body = protocol_v1.answer(predictions[start:end], names[start:end], order.version_label, warnings)
                made.append((one, body, None))
            else:
                labels = model.class_words if model.classes else None
                made.append(
                    (
                        one,
                        *protocol_v2.answer(
                            one.request,
                            name=order.name,
                            version=str(order.number),
                            found=found[start:end],
                            labels=labels,
                            warnings=warnings,
                        ),
                    )
                )
        return made

    def _warnings(self, block: Block) -> list[str]:
        unknown = self.model.intake.unknown(block)
        notes = [
            f"Row {row}, column {column!r}: {word[:40]!r} is not a category of the training data."
            for row, column, word in unknown[:MOST_WARNINGS]
        ]
        more = len(unknown) - MOST_WARNINGS
        return [*notes, f"And {more:,} more such cells."] if more > 0 else notes

    def _names(self, found: NDArray[np.float64]) -> list[str]:
        """Return a signed id for each row's prediction."""
        outcomes = found.argmax(axis=1).tolist() if self.model.classes else found[:, 0].tolist()
        at_ms = int(time.time() * 1000)
        noise = os.urandom(6 * len(outcomes))
        return [
            prediction_id.sign(
                self._sign,
                version_id=self.order.version_id,
                at_ms=at_ms,
                outcome=outcome,
                random=noise[6 * at : 6 * at + 6],
            )
            for at, outcome in enumerate(outcomes)
        ]


def _not_understood() -> problems.BadBody:
    """Return the problem for a call whose decoding failed unexpectedly; other calls are unaffected."""
    return problems.BadBody("The body could not be parsed. See the description of the route for its format.")


def bad_instance(error: BadInstance) -> problems.BadInstanceProblem:
    """Return the problem for a row that does not fit the model."""
    extra: dict[str, Any] = {"column": error.column} if error.column else {}
    if error.row is not None:
        extra["row"] = error.row
    return problems.BadInstanceProblem(str(error), **extra)


def empty_block(model: Predictor, rows: int) -> Block:
    """Return rows of missing values, used to warm up a model."""
    intake = model.intake
    return intake.columns({name: [None] * rows for name in intake.names}, rows)
