"""Assertions for an application's own tests; needs no test framework.

Fixtures and a marker for pytest are in `sa_perf.testing.plugin`, which pytest finds by itself. It
imports this package in every run, so what that does not need is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.testing.budget import query_budget
    from sa_perf.testing.keyset_index import assert_keyset_indexed
    from sa_perf.testing.plans import (
        assert_no_full_scan,
        assert_plan_snapshot,
        assert_uses_index,
    )

__all__ = [
    "assert_keyset_indexed",
    "assert_no_full_scan",
    "assert_plan_snapshot",
    "assert_uses_index",
    "query_budget",
]

_LATER = {
    "assert_keyset_indexed": "keyset_index",
    "assert_no_full_scan": "plans",
    "assert_plan_snapshot": "plans",
    "assert_uses_index": "plans",
    "query_budget": "budget",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
