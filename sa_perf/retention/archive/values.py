r"""Stored values as text, in JSON and in CSV, and back. Pure.

A stored value is NULL, bool, int, float, str or bytes (see `sa_perf.dialects.stored_values`). Each
text says which of these it is, so ``1``, ``1.0``, ``"1"`` and ``b"1"`` stay apart.

In JSON, what it has no word for is an object with one member: ``{"base64": "AP8="}`` for bytes,
``{"float": "nan"}`` for what is no finite number. In CSV, text stands in quotes and all else does
not: NULL is empty, ``true``, ``1``, ``1.0``, ``nan``, bytes ``\x00ff``.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from json import JSONEncoder, loads
from typing import TypeAlias, TypeGuard

__all__ = [
    "TYPES",
    "Value",
    "csv_field",
    "csv_value",
    "is_value",
    "json_line",
    "json_row",
    "plain",
    "row_of_json",
]

#: What a database keeps in a column.
Value: TypeAlias = "bool | int | float | str | bytes | None"

#: Of the values.
TYPES = frozenset({type(None), bool, int, float, str, bytes})


def is_value(value: object) -> TypeGuard[Value]:
    """Whether it is one of the types that an archive holds, and text is made of characters."""
    if isinstance(value, str):
        return type(value) is str and _is_encodable(value)
    return type(value) in TYPES


def plain(value: object) -> object:
    """The same with bytes for whatever a driver gives in place of them."""
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def json_row(row: object) -> str:
    """A row in one line of JSON, without the line's end; names to values.

    Raises:
        ValueError: it holds a float that is no finite number; use `json_line`.
        TypeError: it holds what is no stored value.
    """
    return _encode(row)


def json_line(row: dict[str, Value]) -> str:
    """A row in one line of JSON as `json_row` writes it, whatever floats it holds."""
    return _encode({name: _finite(value) for name, value in row.items()})


def row_of_json(line: str | bytes) -> dict[str, Value]:
    """Read what `json_line` wrote.

    Raises:
        ValueError: it is none.
    """
    row = loads(line)
    if type(row) is not dict:
        raise ValueError("a line holds no row")
    for name, value in row.items():
        if type(value) is dict:
            row[name] = _of_tag(value)
        elif type(value) is list:
            raise ValueError("a row holds a list")
    return row


def csv_field(value: Value) -> str:
    """One field of CSV (RFC 4180), with its quotes."""
    if type(value) is str:
        return '"' + value.replace('"', '""') + '"'
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "\\x" + value.hex() if isinstance(value, bytes) else repr(value)


def csv_value(quoted: str | None, bare: str) -> Value:
    """Read what `csv_field` wrote.

    Args:
        quoted: what stood between quotes, quotes in it still doubled; None: there were none.
        bare: the field where there were no quotes.

    Raises:
        ValueError: it is none.
    """
    if quoted is not None:
        return quoted.replace('""', '"')
    if not bare:
        return None
    if bare in ("true", "false"):
        return bare == "true"
    if bare.startswith("\\x"):
        return bytes.fromhex(bare[2:])
    digits = bare[1:] if bare[0] == "-" else bare
    return int(bare) if digits.isdigit() else float(bare)


def _tag(value: object) -> dict[str, str]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} is no stored value")


def _finite(value: Value) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _of_tag(tagged: dict[str, str]) -> Value:
    if tagged.keys() == {"base64"}:
        return b64decode(tagged["base64"], validate=True)
    if tagged.keys() == {"float"}:
        return float(tagged["float"])
    raise ValueError(f"a value has the unknown form {sorted(tagged)}")


def _is_encodable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_encode = JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_tag
).encode
