"""Accepted parameters and body fields of an endpoint: exactly those that its description declares.

Unknown ones would be ignored, and the response misread: a misspelt filter returns everything, and a price with a
misspelt start applies at once. So the endpoint's own description (`extend_schema`) is the list, and anything else is a
400.
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

#: Every list accepts these; a list returned whole is cut only on request.
OF_A_LIST = ("cursor", "limit")
_declared: dict[tuple[type, str], tuple[dict[str, bool], bool]] = {}
WRITES = ("POST", "PUT", "PATCH")
MOST_NAMED = 20


def declared(view: Any, method: str) -> tuple[Mapping[str, bool], bool]:
    """Return the query parameters of a method, each with whether it may be repeated; and whether it returns a list."""
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
    """Return whether a described response is a page of a list."""
    return isinstance(shape, type) and issubclass(shape, serializers.Serializer) and is_page(shape)


def is_page(shape: type[serializers.Serializer[Any]]) -> bool:
    """Return whether a serializer is one of `openapi.page_of`, or made from one."""
    return {"results", "next"} <= shape._declared_fields.keys()


def refuse_unknown(view: Any, request: Request) -> None:
    """Raise `Invalid` naming every unknown or repeated parameter, and the known ones."""
    if not request.query_params:
        return
    known, _ = declared(view, request.method or "GET")
    faults: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            use = f"Use {', '.join(known)}." if known else "This address takes none."
            faults[name] = [f"There is no such parameter here. {use}"]
        elif len(values) > 1 and not known[name]:
            faults[name] = ["Use it once."]
    if faults:
        raise Invalid(fields=faults)


def refuse_unknown_fields(view: Any, request: Request) -> None:
    """Raise `Invalid` naming body fields missing from the method's description, in nested lists and objects too.

    Read-only fields may be sent back. Form fields count like those of JSON.
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
    with suppress(UnsupportedMediaType):  # reading the body raises it
        _compare(shape, request.data, "", faults)
    if faults:
        raise Invalid(fields=faults)


def _compare(shape: Any, sent: Any, path: str, faults: dict[str, list[str]]) -> None:
    """Walk a body beside its schema; values of the wrong kind are reported when the body is read."""
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
