"""Bind values in a form that may be kept: types and sizes by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

__all__ = ["ParameterMode", "described"]

ParameterMode: TypeAlias = Literal["types", "truncated", "full"]

_MAX_VALUES = 20
_MAX_CHARACTERS = 80


def described(parameters: object, mode: ParameterMode) -> tuple[str, ...]:
    """One text a parameter, in the order of the statement.

    Args:
        parameters: one parameter set as the driver gets it (sequence or mapping), or a list of
            sets for executemany; of many sets the first is described.
        mode: ``"types"`` gives ``"str(12)"``; ``"truncated"`` gives reprs cut at 80 characters;
            ``"full"`` gives whole reprs. Beyond 20 parameters the rest is counted, but for
            ``"full"``.
    """
    prefix: tuple[str, ...] = ()
    if isinstance(parameters, list) and parameters and _is_set(parameters[0]):
        if len(parameters) > 1:
            prefix = (f"{len(parameters)} parameter sets, the first:",)
        parameters = parameters[0]
    if isinstance(parameters, Mapping):
        pairs = [(f"{name}=", value) for name, value in parameters.items()]
    elif _is_set(parameters):
        pairs = [("", value) for value in parameters]  # type: ignore[attr-defined]  # checked above
    else:
        return prefix
    shown = pairs if mode == "full" else pairs[:_MAX_VALUES]
    texts = tuple(name + _described(value, mode) for name, value in shown)
    more = len(pairs) - len(shown)
    return prefix + texts + ((f"... and {more} more",) if more else ())


def _is_set(value: object) -> bool:
    return isinstance(value, (Mapping, tuple)) or (
        isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))
    )


def _described(value: object, mode: ParameterMode) -> str:
    if mode == "types":
        size = f"({len(value)})" if isinstance(value, (str, bytes, bytearray, Sequence)) else ""
        return type(value).__name__ + size
    try:
        text = repr(value)
    except Exception as error:  # a foreign __repr__ must not reach the application
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    if mode == "full" or len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]}... ({len(text)} characters)"
