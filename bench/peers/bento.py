"""BentoML with adaptive batching, as documented: `bentoml serve bench.peers.bento:Predictor`."""

from __future__ import annotations

import bentoml

from bench.peers.model import Model


@bentoml.service(workers=1, traffic={"timeout": 30}, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Predictor:
    """The model behind an API that batches calls."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict(self, instances: list[list[float]]) -> list[float]:
        """Predict all rows in one call."""
        return self.model(instances)
