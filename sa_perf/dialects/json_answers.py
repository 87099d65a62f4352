"""Plans that come as JSON: read them, take their literals out. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from typing import TypeAlias

from sa_perf.errors import ExplainError

__all__ = ["decoded", "redacted_json"]

#: Makes an object of its names and values, in their order.
ObjectMaker: TypeAlias = "Callable[[list[tuple[str, object]]], object]"


def decoded(raw: object, make_object: ObjectMaker | None = None) -> object:
    """Read JSON; what a driver has read already is given back as it is.

    Args:
        raw: text, bytes or Python's values.
        make_object: makes the objects; by default a ``dict``.

    Raises:
        ExplainError: it is no JSON.
    """
    if isinstance(raw, (bytes, bytearray)):
        raw = bytes(raw).decode("utf-8", "replace")
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw, object_pairs_hook=make_object)
    except (ValueError, RecursionError) as error:
        raise ExplainError("the plan is no JSON") from error


def redacted_json(raw: str, redact: Callable[[str], str], plain: Set[str]) -> str:
    """The same document with ``redact`` applied to its texts.

    Args:
        raw: a JSON document.
        redact: takes the literals out of a text.
        plain: names of the members whose texts hold no literal.
    """

    def redacted(value: object, name: str = "") -> object:
        if isinstance(value, Mapping):
            return {key: redacted(item, str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [redacted(item, name) for item in value]
        if isinstance(value, str) and name not in plain:
            return redact(value)
        return value

    return json.dumps(redacted(json.loads(raw)), ensure_ascii=False)
