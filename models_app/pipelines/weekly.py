"""The template that a new pipeline starts from: the weekly round of a model."""

from __future__ import annotations

from typing import Any

URL = "https://data.example.com/churn/latest.csv"
MODEL = {"from": "compare", "output": "model_version"}
#: Extract, clean, train twice, compare with what serves, deploy if better, report.
STEPS: list[dict[str, Any]] = [
    {"name": "extract", "kind": "extract", "with": {"url": URL, "dataset": "churn", "target": "churn"}, "retries": 2},
    {
        "name": "clean",
        "kind": "clean",
        "with": {
            "dataset_version": {"from": "extract", "output": "dataset_version"},
            "columns": {"customer": {"role": "identifier"}, "tenure": {"type": "numeric", "missing": ["n/a", ""]}},
        },
    },
    {
        "name": "train",
        "kind": "train",
        "each": [0.01, 0.001],
        "retries": 1,
        "with": {
            "recipe": "tabular.classifier",
            "dataset_version": {"from": "clean", "output": "dataset_version"},
            "params": {"learning_rate": {"item": True}},
            "model": "churn",
        },
    },
    {
        "name": "compare",
        "kind": "compare",
        "with": {
            "model_version": {"from": "train", "output": "model_version"},
            "metric": "accuracy",
            "endpoint": "churn",
        },
    },
    {
        "name": "deploy",
        "kind": "deploy",
        "when": {"step": "compare", "output": "better", "is": "=", "than": True},
        "with": {"model_version": MODEL, "endpoint": "churn"},
    },
    {"name": "report", "kind": "report", "needs": ["compare"], "with": {"title": "The weekly round of churn"}},
]
