"""Frozen dataclasses to canonical JSON, back, and to a digest; knows none of the classes it carries."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


#: What is its own form. Nearly all values of a stage are, and a plan encodes thousands of stages.
_LEAVES = frozenset({str, int, bool, type(None)})


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def encode(value: Any, *, keep: tuple[type, ...] = ()) -> Any:
    """The JSON-ready form of a value: dataclasses become objects with a `type`, enums their value, tuples lists.

    Equal numbers have one form, since `weight_decay=0` and `weight_decay=0.0` are equal settings: a whole float
    becomes an integer, and `decode` gives it back as what its field says. Instances of `keep` stay as they are, for a
    caller that has their forms already.

    Raises:
        TypeError: for a value that has no canonical form.
    """
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind in keep:
        return value
    if dataclasses.is_dataclass(kind):
        form: dict[str, Any] = {"type": kind.__name__}
        for name in _field_names(kind):
            item = getattr(value, name)
            form[name] = item if type(item) in _LEAVES else encode(item, keep=keep)
        return form
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [item if type(item) in _LEAVES else encode(item, keep=keep) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item, keep=keep) for key, item in value.items()}
    if isinstance(value, float):
        return _encode_float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a value must be built of dataclasses, enums, tuples, numbers and strings, got {value!r}")


def _encode_float(value: float) -> Any:
    if not math.isfinite(value):
        return {"float": repr(value)}
    return int(value) if value.is_integer() else value


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, floats as Python's shortest exact form."""
    return _text(encode(value))


def digest(value: Any) -> str:
    """SHA-256 of the canonical text, as 24 hexadecimal digits: 96 bits, beyond any chance of collision here."""
    return digest_of_form(encode(value))


def digest_of_form(form: Any) -> str:
    """The digest of what `encode` gave, or of a part of it."""
    return hashlib.sha256(_text(form).encode()).hexdigest()[:24]


def _text(form: Any) -> str:
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def decode(kind: type[T], data: Any) -> T:
    """The value of class `kind` that `encode` made `data` from.

    Raises:
        ValueError: where the data does not fit the class.
    """
    return typing.cast("T", _decode(kind, data))


def _decode(kind: Any, data: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), data)
    if origin in (dict, Mapping) and isinstance(data, dict):
        return {name: _decode(typing.get_args(kind)[1], item) for name, item in data.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(data, dict) or data.get("type") != kind.__name__:
            raise ValueError(f"expected the JSON object of a {kind.__name__}, got {data!r}")
        hints = _hints(kind)
        names = set(_field_names(kind))
        unknown = set(data) - names - {"type"}
        if unknown:
            raise ValueError(f"{kind.__name__} has no fields {sorted(unknown)}")
        return kind(**{name: _decode(hints[name], data[name]) for name in names if name in data})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if kind is float:
        return _decode_float(data)
    return data


def _decode_float(data: Any) -> float:
    return float(data["float"]) if isinstance(data, dict) else float(data)


def _decode_union(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    for kind in kinds:
        if isinstance(kind, type) and isinstance(data, dict) and data.get("type") == kind.__name__:
            return _decode(kind, data)
    if isinstance(data, list):
        for kind in kinds:
            if typing.get_origin(kind) is tuple:
                return _decode_tuple(typing.get_args(kind), data)
    if float in kinds and _is_number(data):
        return _decode_float(data)
    if isinstance(data, dict):
        raise ValueError(f"expected one of {[getattr(kind, '__name__', kind) for kind in kinds]}, got {data!r}")
    return data


def _is_number(data: Any) -> bool:
    if isinstance(data, dict):
        return set(data) == {"float"}
    return isinstance(data, int | float) and not isinstance(data, bool)


def _decode_tuple(kinds: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decode(kinds[0], item) for item in data)
    return tuple(_decode(kind, item) for kind, item in zip(kinds, data, strict=True))
