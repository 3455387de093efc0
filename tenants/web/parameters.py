"""What an endpoint may be asked: the parameters and the fields of the body that its description declares, and no others.

What is not known would be ignored, and the answer to another question believed: a misspelt filter answers everything, a
price whose start is misspelt rules at once. So the endpoint's own description (`extend_schema`) is the list, and what is
not on it is a 400.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from tenants.errors import Invalid

#: Every list knows these; one that is always answered whole is cut only when it is asked to be.
OF_A_LIST = ("cursor", "limit")
_declared: dict[tuple[type, str], tuple[dict[str, bool], bool]] = {}
WRITES = ("POST", "PUT", "PATCH")
MOST_NAMED = 20


def declared(view: Any, method: str) -> tuple[Mapping[str, bool], bool]:
    """Return the query parameters of a method, each with whether it may be given more than once; and whether it answers a list."""
    key = (type(view), method)
    if key not in _declared:
        handler = getattr(view, "get" if method == "HEAD" else method.lower(), None)
        schema = getattr(handler, "kwargs", {}).get("schema")
        found: dict[str, bool] = {}
        is_list = False
        if schema is not None:
            described = schema()
            described.view, described.method = view, method
            for parameter in described.get_override_parameters():
                if isinstance(parameter, OpenApiParameter) and parameter.location == OpenApiParameter.QUERY:
                    found[parameter.name] = bool(parameter.many)
            is_list = method in ("GET", "HEAD") and answers_list(described.get_response_serializers())
        for name in OF_A_LIST if is_list else ():
            found.setdefault(name, False)
        _declared[key] = found, is_list
    return _declared[key]


def answers_list(shape: Any) -> bool:
    """Return whether a described answer is a page of a list."""
    return isinstance(shape, type) and issubclass(shape, serializers.Serializer) and is_page(shape)


def is_page(shape: type[serializers.Serializer[Any]]) -> bool:
    """Return whether a serializer is one of `schema.page_of`, or made from one."""
    return {"results", "next"} <= shape._declared_fields.keys()


def refuse_unknown(view: Any, request: Request) -> None:
    """Raise `Invalid` naming every parameter that the view does not know or that is given twice, and those it knows."""
    if not request.query_params:
        return
    known, _ = declared(view, request.method or "GET")
    faults: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            use = f"Use {', '.join(known)}." if known else "This address takes none."
            faults[name] = [f"There is no such parameter here. {use}"]
        elif len(values) > 1 and not known[name]:
            faults[name] = ["Give it once."]
    if faults:
        raise Invalid(fields=faults)


def refuse_unknown_fields(view: Any, request: Request) -> None:
    """Raise `Invalid` naming what a body has that the method's description does not, in lists and objects within it too.

    What is only ever answered may be sent back. Form fields count like those of JSON.
    """
    handler = getattr(view, (request.method or "").lower(), None)
    schema = getattr(handler, "kwargs", {}).get("schema")
    if request.method not in WRITES or schema is None:
        return
    described = schema()
    described.view, described.method = view, request.method
    shape = described.get_request_serializer()
    if isinstance(shape, Mapping):
        shape = next(iter(shape.values()))
    faults: dict[str, list[str]] = {}
    with suppress(UnsupportedMediaType):  # whoever reads the body says so
        _compare(shape, request.data, "", faults)
    if faults:
        raise Invalid(fields=faults)


def _compare(shape: Any, sent: Any, path: str, faults: dict[str, list[str]]) -> None:
    """Walk a body beside its shape; what is of another kind than it should be is told by whoever reads it."""
    shape = shape() if isinstance(shape, type) else shape
    if isinstance(shape, serializers.ListSerializer | serializers.ListField):
        for number, one in enumerate(sent if isinstance(sent, list) else ()):
            _compare(shape.child, one, f"{path}{number}.", faults)
    elif (shape is None or isinstance(shape, serializers.Serializer)) and isinstance(sent, Mapping):
        known = {} if shape is None else shape.fields
        for name in sent:
            if len(faults) >= MOST_NAMED:
                return
            if name not in known:
                use = f"Use {', '.join(known)}." if known else "This address takes none."
                faults[f"{path}{str(name)[:60]}"] = [f"There is no such field here. {use}"]
            else:
                _compare(known[name], sent[name], f"{path}{name}.", faults)
