"""Parameters: decoded from nested brackets, and checked against the parameters that the installed library knows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin
from urllib.parse import parse_qsl

import stripe
import stripe.params
import typing_extensions
from stripe import params as library

from tests.fakes.stripe.errors import bad

Params = dict[str, Any]


def decoded(text: str) -> Params:
    """Return the values of a form; `a[b][0]=x` becomes `{"a": {"b": ["x"]}}`."""
    tree: Params = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        first, *rest = name.replace("]", "").split("[")
        at = tree
        for named, following in zip([first, *rest], [*rest, None], strict=True):
            part = named or str(len(at))
            if following is None:
                at[part] = value
            else:
                at = at.setdefault(part, {})
                if not isinstance(at, dict):
                    raise bad(f"Invalid parameter: {name}", "parameter_invalid", name, saved=False)
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdigit() for name in value):
        return [_lists(one) for _, one in sorted(value.items(), key=lambda item: int(item[0]))]
    return {name: _lists(one) for name, one in value.items()}


def check(values: Params, name: str) -> Params:
    """Return the values converted to the types of a parameter class of the library. Raises 400 as Stripe does."""
    return {key: value for key, value in _dictionary(values, _class(name), "").items() if key != "expand"}


@cache
def _class(name: str) -> Any:
    home: Any = stripe.params.checkout if name.startswith("checkout.") else library
    return getattr(home, name.rpartition(".")[2])


@cache
def _hints(kind: Any) -> dict[str, Any]:
    # The options of a request are no parameters; one of them names a class that only type checkers import.
    names = {"StripeContext": stripe.StripeContext, "Mapping": Mapping, **vars(sys.modules[kind.__module__])}
    hints = typing_extensions.get_type_hints(kind, names)
    return {name: hint for name, hint in hints.items() if name not in stripe.RequestOptions.__annotations__}


def _dictionary(values: Params, kind: Any, path: str) -> Params:
    hints = _hints(kind)
    checked = {}
    for name, value in values.items():
        full = f"{path}[{name}]" if path else name
        if name not in hints:
            raise bad(f"Received unknown parameter: {full}", "parameter_unknown", full, saved=False)
        checked[name] = _value(value, hints[name], full)
    for name in sorted(kind.__required_keys__ - values.keys()):
        full = f"{path}[{name}]" if path else name
        raise bad(f"Missing required param: {full}.", "parameter_missing", full, saved=False)
    return checked


def _value(value: Any, hint: Any, path: str) -> Any:
    options = _options(hint)
    dictionaries = [one for one in options if typing_extensions.is_typeddict(one)]
    if isinstance(value, dict):
        return _dictionary(value, dictionaries[0], path) if dictionaries else value
    if isinstance(value, list):
        inner = next((get_args(one)[0] for one in options if get_origin(one) is list), str)
        return [_value(one, inner, f"{path}[{at}]") for at, one in enumerate(value)]
    if value == "" and str not in options:
        return None
    if bool in options and value in ("true", "false"):
        return value == "true"
    if int in options and str not in options:
        return _integer(value, path)
    if options == [bool]:
        raise bad(f"Invalid boolean: {value}", "parameter_invalid", path, saved=False)
    return value


def _integer(value: str, path: str) -> int:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise bad(f"Invalid integer: {value}", "parameter_invalid_integer", path, saved=False)
    return int(value)


def _options(hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return [str]
    if get_args(hint) and get_origin(hint) not in (list, dict):
        return [one for part in get_args(hint) for one in _options(part)]
    return [hint]
