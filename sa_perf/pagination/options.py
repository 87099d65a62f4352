"""What a pager is given beside its statement and session, checked. Pure."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from uuid import UUID

from sa_perf.errors import PaginationError
from sa_perf.pagination.cursors.signer import CursorSigner

__all__ = ["checked_scope", "checked_signer", "whole"]

_SCOPE = (str, int, float, bytes, Decimal, date, time, timedelta, UUID)
_SHOWN_BITS = 256


def whole(name: str, value: object, most: int | None = None) -> int:
    """Give back a whole number from 1 on.

    Args:
        name: of the argument.
        value: of any type.
        most: that it may be; None: any.

    Raises:
        PaginationError: it is none; says what would be.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= (most or value):
        return value
    upto = " on" if most is None else f" to {most}"
    raise PaginationError(f"{name} is {_shown(value)}; allowed is a whole number from 1{upto}")


def checked_signer(signer: object) -> CursorSigner | None:
    """Give back a signer; of the word ``"unsigned"`` the one that it stands for.

    Raises:
        PaginationError: it is neither; keys are not shown.
    """
    if signer is None or isinstance(signer, CursorSigner):
        return signer
    if signer == "unsigned":
        return CursorSigner.unsigned()
    if isinstance(signer, str):
        raise PaginationError("signer is a text; give CursorSigner([key]), or the word 'unsigned'")
    raise PaginationError(
        f"signer is of the type {type(signer).__name__}; give CursorSigner([key]), None for the "
        "keys of SA_PERF_CURSOR_KEYS, or the word 'unsigned'"
    )


def checked_scope(scope: object) -> tuple[object, ...]:
    """Give back a tuple of values that each process writes alike.

    Raises:
        PaginationError: it is no tuple or list, or holds something else.
    """
    if not isinstance(scope, (tuple, list)):
        raise PaginationError(_no_tuple(scope))
    strange = [type(one).__name__ for one in scope if not (one is None or isinstance(one, _SCOPE))]
    if strange:
        raise PaginationError(
            f"scope holds {', '.join(strange)}; allowed are numbers, texts, dates, UUIDs and None, "
            "since each process must see it alike"
        )
    return tuple(scope)


def _no_tuple(scope: object) -> str:
    if scope is None:
        return "scope is None; give a tuple, () for none"
    if isinstance(scope, _SCOPE):
        return f"scope is {_shown(scope)}; give a tuple: ({_shown(scope)},)"
    if isinstance(scope, dict):
        return "scope is a dict; give a tuple of its values, in the same order each time"
    kind = type(scope).__name__
    return f"scope is a {kind}; give a tuple, with its values in the same order each time"


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"a number of {value.bit_length()} bits"  # Python writes no very long ones
    return f"{value!r:.80}"
