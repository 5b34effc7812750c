"""Frozen dataclasses to JSON and back: one writer and one parser for everything that describes a model.

A class that is one of several has a class attribute `type`, which is written and tells the parser which it is. Strict:
every field has to be there, be of its type, and be known.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def write(value: Any) -> Any:
    """Of a dataclass (or tuple, mapping, number, text, None) what `json.dumps` takes."""
    if is_dataclass(value):
        tag = {"type": getattr(value, "type")} if hasattr(value, "type") else {}  # noqa: B009
        return tag | {f.name: write(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [write(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


def parse(kind: type[_T], document: Any, where: str = "") -> _T:
    """The dataclass `kind` from what `write` gave. where: what it is called in messages.

    Raises ValueError, naming the place, for anything else.
    """
    content = _mapping(document, where)
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for name in known:
        if name not in content:
            raise ValueError(f"{_place(where, name)} is missing")
    for name in content:
        if name not in (*known, "type"):
            raise ValueError(f"{_place(where, name)} is unknown")
    return kind(**{name: _value(hints[name], content[name], _place(where, name)) for name in known})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} is {_short(value)}, not a list")
        return tuple(_value(arguments[0], item, where) for item in value)
    if origin is not None:  # Mapping[str, Any]: free
        return dict(_mapping(value, where))
    if is_dataclass(hint):
        return parse(hint, value, where)  # type: ignore[arg-type]
    return _plain(hint, value, where)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Something or nothing, or the class whose type is given."""
    if type(None) in kinds:
        return None if value is None else _value(next(k for k in kinds if k is not type(None)), value, where)
    named = {kind.type: kind for kind in kinds}
    tag = _mapping(value, where).get("type")
    if tag not in named:
        raise ValueError(f"{_place(where, 'type')} is {_short(tag)}, not one of {', '.join(named)}")
    return parse(named[tag], value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {_short(value)}, not {_NAMES.get(kind, kind.__name__)}")
    return value


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where or 'the description'} is {_short(value)}, not an object")
    return value


def _place(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
