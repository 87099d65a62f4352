"""Keeps a database fast and its tables small: a plugin for SQLAlchemy.

``sa_perf.install(engine)``, or ``?plugin=sa_perf`` in the database URL, is all that it takes; see
`sa_perf.instrumentation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.errors import SaPerfError
from sa_perf.instrumentation import Instrumentation, install, instrumentation
from sa_perf.queries.scopes import scope, tracked
from sa_perf.snapshot import Snapshot

if TYPE_CHECKING:
    from sa_perf.plans.explain import explain

__all__ = [
    "Instrumentation",
    "SaPerfError",
    "Snapshot",
    "explain",
    "install",
    "instrumentation",
    "scope",
    "tracked",
]


def __getattr__(name: str) -> object:
    # explain() needs rich and sqlglot, which recording does not.
    if name == "explain":
        from sa_perf.plans.explain import explain

        return explain
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
