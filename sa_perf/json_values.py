"""Frozen dataclasses <-> plain JSON values, by their type hints.

A dataclass becomes an object of its fields; properties that return numbers follow as derived
fields, which are skipped on the way back. Unknown fields are skipped, missing ones take their
default. A class of another kind takes part by the two methods of `HasJSONValue`.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from typing import (
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    runtime_checkable,
)  # fmt: skip

__all__ = ["HasJSONValue", "JSONValue", "decoded", "encoded"]

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
T = TypeVar("T")


@runtime_checkable
class HasJSONValue(Protocol):
    """A class that knows its JSON form."""

    def to_json_value(self) -> JSONValue:
        """This object as JSON values."""

    @classmethod
    def from_json_value(cls, value: object) -> HasJSONValue:
        """Rebuild an object; raises ValueError where the value is of another form."""


def encoded(value: object) -> JSONValue:
    """A dataclass, or what stands in its fields, as JSON values."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        # JSON knows no NaN and no infinity.
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, HasJSONValue):
        return value.to_json_value()
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encoded(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        names = (*(one.name for one in fields(value)), *_derived(type(value)))
        return {name: encoded(getattr(value, name)) for name in names}
    message = f"a {type(value).__name__} has no JSON form"
    raise TypeError(message)


def decoded(kind: type[T], data: object) -> T:
    """Rebuild a dataclass from what `encoded` gave.

    Raises:
        ValueError: a field without default is missing or a value has another type; says where.
    """
    return cast("T", _decoded(kind, data, kind.__name__))


@functools.cache
def _derived(kind: type) -> tuple[str, ...]:
    """Public properties of a dataclass that return numbers."""
    return tuple(
        name
        for name, attribute in vars(kind).items()
        if isinstance(attribute, property)
        and not name.startswith("_")
        and getattr(attribute.fget, "__annotations__", {}).get("return") in {"int", "float"}
    )


@functools.cache
def _hints(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind)


def _decoded(kind: object, data: object, place: str) -> object:
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _decoded_union(get_args(kind), data, place)
    if origin is Literal:
        return _expect(data in get_args(kind), data, place, f"one of {get_args(kind)}")
    if origin is tuple:
        _expect(isinstance(data, list), data, place, "a list")
        (item, *_) = get_args(kind)
        return tuple(_decoded(item, one, f"{place}[{at}]") for at, one in enumerate(_list(data)))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), data, place, "an object")
        _, item = get_args(kind)
        given = cast("dict[str, object]", data)
        return {name: _decoded(item, one, f"{place}.{name}") for name, one in given.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _decoded_dataclass(kind, data, place)
    return _decoded_scalar(kind, data, place)


def _decoded_scalar(kind: object, data: object, place: str) -> object:
    if kind is datetime:
        try:
            # Python 3.10 reads no "Z", which other writers of the schema may use.
            moment = datetime.fromisoformat(cast("str", data).replace("Z", "+00:00"))
        except (AttributeError, TypeError, ValueError):
            moment = None
        _expect(moment is not None and moment.tzinfo is not None, data, place, "a UTC time")
        return moment
    if isinstance(kind, type) and issubclass(kind, HasJSONValue):
        try:
            return kind.from_json_value(data)
        except ValueError as error:
            message = f"{place}: {error}"
            raise ValueError(message) from error
    if kind is float:
        _expect(_is_number(data), data, place, "a number")
        return float(cast("float", data))
    if kind in {int, str, bool, type(None)}:
        return _expect(type(data) is kind, data, place, getattr(kind, "__name__", ""))
    return data


def _is_number(data: object) -> bool:
    if not isinstance(data, (int, float)) or isinstance(data, bool):
        return False
    try:
        return math.isfinite(data)
    except OverflowError:
        return False


def _decoded_union(kinds: tuple[object, ...], data: object, place: str) -> object:
    if data is None and type(None) in kinds:
        return None
    failure = ValueError(f"{place}: nothing fits {data!r:.40}")
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _decoded(kind, data, place)
        except ValueError as error:
            failure = error
    raise failure


def _decoded_dataclass(kind: type, data: object, place: str) -> object:
    _expect(isinstance(data, dict), data, place, "an object")
    values = cast("dict[str, object]", data)
    given: dict[str, object] = {}
    for one in fields(kind):
        if one.name in values:
            hint = _hints(kind)[one.name]
            given[one.name] = _decoded(hint, values[one.name], f"{place}.{one.name}")
        elif _required(one):
            message = f"{place}.{one.name} is missing"
            raise ValueError(message)
    return kind(**given)


def _required(one: Field[object]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _list(data: object) -> list[typing.Any]:
    if not isinstance(data, list):
        message = f"a list was expected, not {data!r:.40}"
        raise ValueError(message)
    return data


def _expect(fits: bool, data: object, place: str, wanted: str) -> object:
    if not fits:
        # Python refuses to write very long whole numbers.
        long = isinstance(data, int) and data.bit_length() > 256
        shown = "a number beyond all bounds" if long else f"{data!r:.40}"
        message = f"{place} is {shown}, not {wanted}"
        raise ValueError(message)
    return data
