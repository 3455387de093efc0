"""Naive FastAPI: a model in every uvicorn process, one request at a time."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from bench.peers.model import Model

app = FastAPI()
model = Model()


class Rows(BaseModel):
    """The body of a request."""

    instances: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows) -> dict[str, list[float]]:
    """Predict in the event loop.

    On two cores this is faster than FastAPI's thread pool, whose threads contend for the interpreter.
    """
    return {"predictions": model(rows.instances)}
