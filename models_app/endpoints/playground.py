"""The playground: the form's fields, one short call to the serving node, and code to copy.

The call goes to the serving node (EXCHEQUER_SERVING_URL) with a single-use token in place of a key and waits at most
two seconds: no model runs in the web process.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

from billing.money import Money
from models_app.access import visible_endpoints
from models_app.endpoints import playground_tokens
from models_app.models import Endpoint
from models_app.tables.columns.contract import Contract
from tenants.access.actor import Actor
from tenants.errors import NotFound

PATIENCE_S = 2.0
MOST_BYTES = 1_000_000
MOST_NOTES = 5
MOST_FIELDS = 100
"""Maximum fields on a page; further inputs take their typical value."""

AWAY = "The serving node does not answer. Nothing was counted. Try again in a moment; the endpoint's state above says more."


@dataclass(frozen=True, kw_only=True)
class TryInput:
    """One input of a model: its kind, its typical value, and for a category the known values.

    `contract`: how its cells are read; None for a model older than contracts.
    """

    name: str
    kind: str
    typical: Any = None
    choices: tuple[str, ...] = ()
    contract: Contract | None = None


@dataclass(frozen=True, kw_only=True)
class PredictionPreview:
    """The serving node's response. `fault` is a sentence if there is no prediction."""

    fault: str = ""
    label: str = ""
    number: float | None = None
    scores: tuple[tuple[str, float], ...] = ()
    version: str = ""
    cost: Money | None = None
    prediction_id: str = ""
    took_ms: float = 0.0

    @property
    def shares(self) -> tuple[tuple[str, float, str], ...]:
        """Return the scores with their percentages as text; those of all classes add up to 100.0 %."""
        exact = [score * 1000 for _, score in self.scores]
        tenths = [math.floor(value) for value in exact]
        rest = max(0, round(sum(exact)) - sum(tenths))
        for at in sorted(range(len(exact)), key=lambda at: tenths[at] - exact[at])[:rest]:
            tenths[at] += 1
        texts = [f"{tenth // 10}.{tenth % 10}\u00a0%" for tenth in tenths]
        return tuple((name, score, words) for (name, score), words in zip(self.scores, texts, strict=True))


@dataclass(frozen=True, kw_only=True)
class Snippets:
    """Code that calls an endpoint and sends feedback, complete except for the keys."""

    url: str
    curl: str
    requests: str
    triton: str
    feedback: str = ""

    @property
    def titled(self) -> tuple[tuple[str, str], ...]:
        """Return each snippet with its title."""
        calls = (("curl", self.curl), ("Python, requests", self.requests), ("Python, tritonclient", self.triton))
        return (*calls, ("Send ground truth", self.feedback)) if self.feedback else calls


def inputs(actor: Actor, endpoint_id: UUID) -> tuple[TryInput, ...]:
    """Return the inputs of the served version, with typical values from its baseline. Raises NotFound."""
    seen = visible_endpoints(actor)
    endpoint = seen.select_related("version").filter(id=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    known = endpoint.version.baseline.get("features", {})
    found = []
    for one in endpoint.version.signature.get("inputs", []):
        feature = known.get(one["name"], {})
        categories = tuple(one.get("categories", ())) if one["kind"] == "categorical" else ()
        typical = feature.get("typical", categories[0] if categories else None)
        contract = Contract.from_json(one["contract"]) if one.get("contract") else None
        found.append(
            TryInput(name=one["name"], kind=one["kind"], typical=typical, choices=categories, contract=contract)
        )
    return tuple(found)


def notes(actor: Actor, endpoint_id: UUID, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return notes on inputs without a value, or outside the range of the training data."""
    endpoint = Endpoint.objects.select_related("version__dataset_version").get(id=endpoint_id)
    if not visible_endpoints(actor).filter(id=endpoint.id).exists():
        raise NotFound
    found = []
    empty = [name for name, value in row.items() if value is None]
    if empty:
        found.append(
            f"No value given: {_some(empty) if len(empty) < len(row) else 'all inputs'}. The model treats it as missing."
        )
    for column in endpoint.version.dataset_version.profile.get("columns", []):
        value, low, high = row.get(column["name"]), column.get("min"), column.get("max")
        if column["kind"] != "numeric" or value is None or low is None or low <= value <= high:
            continue
        found.append(f"{column['name']}: {value:g} is outside {low:g} to {high:g}, the range of the training data.")
    return (
        (*found[:MOST_NOTES], f"And {len(found) - MOST_NOTES} more inputs like this.")
        if len(found) > MOST_NOTES
        else tuple(found)
    )


def predict(
    actor: Actor, *, endpoint_id: UUID, name: str, row: Mapping[str, Any], currency: str, request_id: str = ""
) -> PredictionPreview:
    """Predict one row on the serving node and return its response; call with no transaction open.

    The node returns the cost as a bare number, in the organisation's `currency`.
    """
    if actor.id is None:
        raise NotFound
    token = playground_tokens.sign(
        settings.EXCHEQUER.serving_key,
        tenant_id=actor.tenant_id,
        endpoint_id=endpoint_id,
        user_id=actor.id,
        now_s=time.time(),
        nonce=secrets.token_bytes(8),
    )
    headers = {
        "Content-Type": "application/json",
        playground_tokens.HEADER: token,
        "X-Request-Id": request_id or "try",
    }
    body = json.dumps({"instances": [row]}, allow_nan=False).encode()
    node, prefix = _node()
    began = time.monotonic()
    try:
        node.request("POST", f"{prefix}/v1/models/{name}:predict", body, headers)
        answer = node.getresponse()
        reply = json.loads(answer.read(MOST_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return PredictionPreview(fault=AWAY)
    finally:
        node.close()
    if not isinstance(reply, dict):
        return PredictionPreview(fault=AWAY)
    if answer.status != http.HTTPStatus.OK:
        return PredictionPreview(fault=_of_one(str(reply.get("title") or AWAY))[:1000])
    cost = answer.headers.get("x-exchequer-cost", "")
    return _read(reply, cost, currency, (time.monotonic() - began) * 1000)


def snippets(
    name: str, fields: tuple[TryInput, ...], *, endpoint_id: UUID | None = None, key: str = "YOUR_KEY"
) -> Snippets:
    """Return code for curl, Python's requests and tritonclient with this endpoint's address and a typical row.

    With `endpoint_id` also code that sends feedback, which needs an API key of the organisation.
    """
    public = settings.EXCHEQUER.serving_public_url or _beside(settings.EXCHEQUER.effective_public_url)
    url = f"{public}/v1/models/{name}:predict"
    row = {one.name: one.typical for one in fields}
    body = json.dumps({"instances": [row]}, indent=1)
    quoted = body.replace("'", "'\\''")
    return Snippets(
        url=url,
        curl=f"curl {url} \\\n  -H 'Authorization: Bearer {key}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{quoted}'",
        requests=(
            "import requests\n\n"
            "answer = requests.post(\n"
            f'    "{url}",\n'
            f'    headers={{"Authorization": "Bearer {key}"}},\n'
            f'    json={{"instances": [\n        {_python(row)}\n    ]}},\n'
            "    timeout=10,\n)\n"
            "answer.raise_for_status()\nprint(answer.json())"
        ),
        triton=_triton(name, public, fields, key),
        feedback=_feedback(endpoint_id) if endpoint_id else "",
    )


def _node() -> tuple[http.client.HTTPConnection, str]:
    """Return a connection to the serving node, which is not open yet, and the start of each path there."""
    env = settings.EXCHEQUER
    parts = urlsplit(env.serving_url or f"http://127.0.0.1:{env.serving_port}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=PATIENCE_S), parts.path


def _beside(url: str) -> str:
    """Return the address of the serving node's port at the host of another address."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{settings.EXCHEQUER.serving_port}"


def _of_one(fault: str) -> str:
    """Return a fault without its row number, since there is only one row."""
    message = re.sub(r"^Row 0[,:] ", "", fault)
    return message[:1].upper() + message[1:]


def _read(body: Mapping[str, Any], cost: str, currency: str, took_ms: float) -> PredictionPreview:
    try:
        one, ids = body["predictions"][0], body.get("prediction_ids") or [""]
        named = isinstance(one, Mapping)
        scores = sorted(((str(k), float(v)) for k, v in one["scores"].items()), key=lambda at: -at[1]) if named else []
        return PredictionPreview(
            label=str(one["label"]) if named else "",
            number=None if named else float(one),
            scores=tuple(scores[:10]),
            version=str(body.get("model_version", "")),
            cost=Money(Decimal(cost), currency) if cost else None,
            prediction_id=str(ids[0]),
            took_ms=took_ms,
        )
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError):
        return PredictionPreview(fault=AWAY)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NOTES
    return ", ".join(names[:MOST_NOTES]) + (f" and {more} more" if more > 0 else "")


def _feedback(endpoint_id: UUID) -> str:
    return (
        f"curl {settings.EXCHEQUER.effective_public_url.rstrip('/')}/api/v1/endpoints/{endpoint_id}/feedback/ \\\n"
        "  -H 'Authorization: Bearer API_KEY' \\\n  -H 'Content-Type: application/json' \\\n"
        '  -d \'{"items": [{"prediction_id": "ONE_OF_prediction_ids", "label": "GROUND_TRUTH"}]}\''
    )


def _triton(name: str, public: str, fields: tuple[TryInput, ...], key: str) -> str:
    scheme, _, rest = public.partition("://")
    lines = [
        "import numpy as np",
        "import tritonclient.http as triton",
        "",
        f'client = triton.InferenceServerClient("{rest}"{", ssl=True" if scheme == "https" else ""})',
    ]
    if all(one.kind == "numeric" for one in fields):
        values = ",\n    ".join(_python(one.typical) for one in fields)
        lines += [
            f"row = np.array([[\n    {values},\n]], dtype=np.float64)",
            'tensor = triton.InferInput("inputs", list(row.shape), "FP64")',
            "tensor.set_data_from_numpy(row)",
            "inputs = [tensor]",
        ]
    else:
        lines += ["", "columns = ["]
        for one in fields:
            kind, dtype = {"numeric": ("FP64", "np.float64"), "boolean": ("BOOL", "bool")}.get(
                one.kind, ("BYTES", "object")
            )
            lines.append(
                f"    ({_python(one.name)}, {_python(kind)}, np.array([{_python(one.typical)}], dtype={dtype})),"
            )
        lines += ["]", "inputs = []", "for name, kind, values in columns:"]
        lines += ["    tensor = triton.InferInput(name, list(values.shape), kind)"]
        lines += ["    tensor.set_data_from_numpy(values)", "    inputs.append(tensor)"]
    lines += [f'answer = client.infer({_python(name)}, inputs, headers={{"Authorization": "Bearer {key}"}})']
    return "\n".join([*lines, "print(answer.get_response())"])


def _python(value: Any) -> str:
    """Write a JSON value as Python."""
    if isinstance(value, Mapping):
        lines = ",\n         ".join(f"{_python(key)}: {_python(item)}" for key, item in value.items())
        return "{" + lines + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)
