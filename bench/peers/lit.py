"""LitServe: `python -m bench.peers.lit PORT MAX_BATCH` (1 = without batching)."""

import sys
from typing import Any

import litserve

from bench.peers.model import Model


class Api(litserve.LitAPI):
    """The documented hooks; with batches, a list of bodies is predicted in one call."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model = Model()

    # LitServe reads the annotations: without one, the body is any JSON, as in its documentation.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Return the rows."""
        rows: list[list[float]] = request["instances"]
        return rows

    def predict(self, rows: Any) -> Any:
        """Predict the rows of one body."""
        return self.model(rows)

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"predictions": output}


class Batched(Api):
    """The same with batches of several bodies."""

    def batch(self, inputs: list[list[list[float]]]) -> tuple[list[list[float]], list[int]]:
        """Concatenate the rows of all bodies."""
        return [row for rows in inputs for row in rows], [len(rows) for rows in inputs]

    def predict(self, batch: Any) -> Any:
        """Predict all rows in one call."""
        rows, sizes = batch
        found = self.model(rows)
        at, parts = 0, []
        for size in sizes:
            parts.append(found[at : at + size])
            at += size
        return parts

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """Return the outputs, which are separate already."""
        return output


if __name__ == "__main__":
    port, most = int(sys.argv[1]), int(sys.argv[2])
    api = Batched(max_batch_size=most, batch_timeout=0.005) if most > 1 else Api()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning", access_log=False)
