"""The Open Inference Protocol v2: JSON tensors and the binary tensor extension.

Source: kserve/open-inference-protocol, `inference_rest.md`; Triton's `extension_binary_data.md`. One input tensor per
column, or one tensor `inputs` [rows, columns] if every column is a number.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models_app.recipes.tabular.features import Feature
from models_app.recipes.tabular.prediction.block import Block, Intake
from models_app.serving.requests.problems import BadBody, BadInstanceProblem
from models_app.serving.requests.protocol_v1 import check_rows, load
from models_app.tables.columns import cells

MATRIX = "inputs"
DTYPES = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
OURS = {"numeric": "FP64", "boolean": "BOOL", "datetime": "BYTES", "categorical": "BYTES"}
WHOLE, FLOAT = frozenset({int, type(None)}), frozenset({int, float, type(None)})


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request. `wanted` maps an output's name to whether it is sent in binary."""

    id: str
    block: Block
    wanted: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input: its shape and its flat elements: an array, or a list from JSON or of BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | NDArray[Any]


def parse(body: bytes, header_length: int | None, intake: Intake, outputs: Sequence[str]) -> Request:
    """Read a request. Raises NotJSON, BadBody, TooLarge, BadInstanceProblem, and BadInstance of the recipe."""
    if header_length is not None and not 0 < header_length <= len(body):
        raise BadBody("Inference-Header-Content-Length must be between 1 and the length of the body.")
    split = len(body) if header_length is None else header_length
    head = load(memoryview(body)[:split])
    if not isinstance(head, dict) or not isinstance(head.get("inputs"), list) or not head["inputs"]:
        raise BadBody('Send {"inputs": [{"name", "shape", "datatype", "data"}, ...]}.')
    given_id = head.get("id", "")
    if not isinstance(given_id, str):
        raise BadBody('The field "id" must be a string.')
    rest = memoryview(body)[split:]
    tensors: dict[str, Tensor] = {}
    for entry in head["inputs"]:
        tensor, rest = _tensor(entry, rest)
        if tensor.name in tensors:
            raise BadBody(f"Input {tensor.name!r} is given twice.")
        tensors[tensor.name] = tensor
    if len(rest):
        raise BadBody(f"{len(rest)} bytes follow the last tensor.")
    return Request(given_id, _block(tensors, intake), _wanted(head, outputs))


def answer(
    request: Request,
    *,
    name: str,
    version: str,
    found: NDArray[np.float64],
    labels: list[str] | None,
    warnings: Sequence[str] = (),
) -> tuple[bytes, int | None]:
    """Return the body of a response and, if binary tensors follow, the length of its JSON part.

    Warnings are one text in the response's parameters, because the protocol has no lists there.
    """
    values: dict[str, tuple[str, NDArray[np.float64] | list[str]]] = {}
    if labels is None:
        values["prediction"] = ("FP64", found[:, 0])
    else:
        values["label"] = ("BYTES", [labels[at] for at in found.argmax(axis=1).tolist()])
        values["scores"] = ("FP64", found)
    outputs, tail = [], []
    for output, binary in request.wanted.items():
        datatype, data = values[output]
        shape = list(data.shape) if isinstance(data, np.ndarray) else [len(data)]
        entry: dict[str, Any] = {"name": output, "datatype": datatype, "shape": shape}
        if binary:
            raw = data.astype("<f8").tobytes() if isinstance(data, np.ndarray) else b"".join(map(_prefixed, data))
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            entry["data"] = data.ravel().tolist() if isinstance(data, np.ndarray) else data
        outputs.append(entry)
    head: dict[str, Any] = {"id": request.id} if request.id else {}
    if warnings:
        head["parameters"] = {"warnings": " ".join(warnings)}
    text = orjson.dumps({**head, "model_name": name, "model_version": version, "outputs": outputs})
    return b"".join([text, *tail]), len(text) if tail else None


def metadata(name: str, version: str, intake: Intake, classes: int) -> dict[str, Any]:
    """Return a model's metadata: its inputs and outputs."""
    inputs = [{"name": feature.name, "datatype": OURS[feature.kind], "shape": [-1]} for feature in intake.features]
    outputs = (
        [{"name": "label", "datatype": "BYTES", "shape": [-1]}, {"name": "scores", "datatype": "FP64", "shape": [-1, classes]}]
        if classes
        else [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]
    )  # fmt: skip
    return {"name": name, "versions": [version], "platform": "exchequer_tabular", "inputs": inputs, "outputs": outputs}


def output_names(classes: int) -> tuple[str, ...]:
    """Return the names of a model's outputs."""
    return ("label", "scores") if classes else ("prediction",)


def _wanted(head: dict[str, Any], outputs: Sequence[str]) -> dict[str, bool]:
    parameters = _parameters(head)
    binary = parameters.get("binary_data_output") is True
    asked = head.get("outputs")
    if asked is None or asked == []:
        return dict.fromkeys(outputs, binary)
    if not isinstance(asked, list):
        raise BadBody('The field "outputs" must be a list.')
    wanted: dict[str, bool] = {}
    for entry in asked:
        if not isinstance(entry, dict) or entry.get("name") not in outputs:
            raise BadBody(f"Unknown output. The outputs of this model are {', '.join(outputs)}.")
        own = _parameters(entry)
        if own.get("classification"):
            raise BadBody("The only parameter of an output is binary_data.")
        wanted[entry["name"]] = bool(own.get("binary_data", binary))
    return wanted


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    found = entry.get("parameters")
    if found is not None and not isinstance(found, dict):
        raise BadBody('The field "parameters" must be an object.')
    return found or {}


def _tensor(entry: Any, rest: memoryview) -> tuple[Tensor, memoryview]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise BadBody('Each input must be an object {"name", "shape", "datatype", "data"}.')
    name, datatype, shape = entry["name"], entry.get("datatype"), entry.get("shape")
    if not isinstance(datatype, str) or (datatype != "BYTES" and datatype not in DTYPES):
        raise BadBody(f"Input {name[:80]!r}: the datatype must be BYTES or one of {', '.join(DTYPES)}.")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or not all(type(n) is int and n >= 0 for n in shape):
        raise BadBody(f"Input {name[:80]!r}: the shape must be [rows] or [rows, columns].")
    size = shape[0] * (shape[1] if len(shape) == 2 else 1)
    check_rows(shape[0])
    length = _parameters(entry).get("binary_data_size")
    if length is None:
        data: Any = _flat(entry.get("data"), name)
        _check_json(name, datatype, data)
    else:
        if type(length) is not int or not 0 <= length <= len(rest):
            raise BadBody(f"Input {name[:80]!r}: binary_data_size exceeds the rest of the body.")
        raw, rest = rest[:length], rest[length:]
        data = _texts_of(raw, name) if datatype == "BYTES" else _array(raw, DTYPES[datatype], name)
    if len(data) != size:
        raise BadInstanceProblem(
            f"Input {name[:80]!r} has {len(data)} elements; its shape {shape} requires {size}.", column=name[:80]
        )
    return Tensor(name, datatype, tuple(shape), data), rest


def _flat(data: Any, name: str) -> list[Any]:
    if not isinstance(data, list):
        raise BadBody(f'Input {name[:80]!r}: send a list as "data", or the number of bytes as binary_data_size.')
    if data and all(type(row) is list for row in data):
        return list(chain.from_iterable(data))
    return data


def _check_json(name: str, datatype: str, data: list[Any]) -> None:
    allowed = (
        frozenset({str, type(None)}) if datatype == "BYTES"
        else frozenset({bool, type(None)}) if datatype == "BOOL"
        else FLOAT if datatype.startswith("FP") else WHOLE
    )  # fmt: skip
    if not allowed.issuperset(map(type, data)):
        at = next(at for at, value in enumerate(data) if type(value) not in allowed)
        raise BadInstanceProblem(
            f"Input {name[:80]!r}, element {at}: {repr(data[at])[:40]} is not of type {datatype}.",
            column=name[:80],
            row=at,
        )


def _array(raw: memoryview, dtype: str, name: str) -> NDArray[Any]:
    try:
        return np.frombuffer(raw, dtype=np.dtype(dtype))
    except ValueError as error:
        raise BadBody(f"Input {name[:80]!r}: {len(raw)} bytes are not a whole number of elements.") from error


def _texts_of(raw: memoryview, name: str) -> list[str]:
    found, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise BadBody(f"Input {name[:80]!r}: an element of BYTES is truncated.")
        (length,) = struct.unpack_from("<I", raw, at)
        if at + 4 + length > len(raw):
            raise BadBody(f"Input {name[:80]!r}: an element of BYTES is truncated.")
        try:
            found.append(bytes(raw[at + 4 : at + 4 + length]).decode())
        except UnicodeDecodeError as error:
            raise BadBody(f"Input {name[:80]!r}: elements of BYTES must be UTF-8 text.") from error
        at += 4 + length
    return found


def _prefixed(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


def _block(tensors: dict[str, Tensor], intake: Intake) -> Block:
    matrix = tensors.get(MATRIX)
    if matrix is not None and len(tensors) == 1 and len(matrix.shape) == 2 and not intake.word_at:
        return _matrix(matrix, intake)
    unknown = [name for name in tensors if name not in intake.by_name]
    absent = [name for name in intake.names if name not in tensors]
    if unknown or absent:
        fault = f"{unknown[0][:80]!r} is not a column of this model" if unknown else f"column {absent[0]!r} is missing"
        raise BadInstanceProblem(
            f"{fault}. Send one tensor per column: {', '.join(intake.names[:12])}"
            f"{f' and {len(intake.names) - 12} more' if len(intake.names) > 12 else ''}.",
            column=(unknown or absent)[0][:80],
        )
    rows = tensors[intake.names[0]].shape[0]
    for tensor in tensors.values():
        if tensor.shape[0] != rows or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise BadInstanceProblem(
                f"Input {tensor.name!r} has shape {list(tensor.shape)}, expected [{rows}]: all columns must have the same number of rows.",
                column=tensor.name,
            )
    if not rows:
        raise BadBody("The tensors are empty: send at least one row.")
    return intake.columns({name: _values(intake.by_name[name], tensors[name]) for name in intake.names}, rows)


def _values(feature: Feature, tensor: Tensor) -> list[Any] | NDArray[Any]:
    if feature.kind == "numeric" and tensor.datatype == "BYTES" and feature.contract is None:
        raise BadInstanceProblem(f"Column {feature.name!r} takes numbers, not BYTES.", column=feature.name)
    if feature.kind == "categorical" and tensor.datatype != "BYTES" and not _named_by(feature, tensor.datatype):
        raise BadInstanceProblem(
            f"Column {feature.name!r} takes BYTES (its categories are words), not {tensor.datatype}.",
            column=feature.name,
        )
    return tensor.data


def _named_by(feature: Feature, datatype: str) -> bool:
    """Return whether values of a datatype can name a category: booleans for true/false, numbers for numeric names."""
    if datatype == "BOOL":
        return not {"true", "false"}.isdisjoint(feature.categories)
    return any(re.fullmatch(cells.PLAIN, word) for word in feature.categories)


def _matrix(tensor: Tensor, intake: Intake) -> Block:
    rows, width = tensor.shape
    if width != len(intake.names):
        raise BadInstanceProblem(
            f"The rows of {MATRIX!r} have {width} values; the model has {len(intake.names)} columns."
        )
    if tensor.datatype == "BYTES":
        raise BadInstanceProblem(f"{MATRIX!r} takes numbers, not BYTES.")
    if not rows:
        raise BadBody("The tensor is empty: send at least one row.")
    if isinstance(tensor.data, np.ndarray):
        return intake.matrix(tensor.data.astype(np.float64).reshape(rows, width))
    return intake.columns({name: tensor.data[at::width] for at, name in enumerate(intake.names)}, rows)
