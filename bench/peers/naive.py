"""Naive FastAPI: a model in every uvicorn process, a request at a time."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from bench.peers.model import Model

app = FastAPI()
model = Model()


class Rows(BaseModel):
    """The body."""

    instances: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows) -> dict[str, list[float]]:
    """Predict in the loop: on two cores quicker than FastAPI's pool of threads, which fight for the interpreter."""
    return {"predictions": model(rows.instances)}
