"""Keeps a database fast and its tables small: a plugin for SQLAlchemy.

``sa_perf.install(engine)``, or ``?plugin=sa_perf`` in the database URL, is all that it takes; see
`sa_perf.instrumentation`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sa_perf.errors import SaPerfError
from sa_perf.instrumentation import Instrumentation, install, instrumentation
from sa_perf.queries.scopes import scope, tracked

if TYPE_CHECKING:
    from sa_perf.plans.explain import explain
    from sa_perf.snapshot import Snapshot

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


#: Imported when asked for: explain() needs rich and sqlglot, a snapshot all that is read of plans.
_LATER = {"Snapshot": "sa_perf.snapshot", "explain": "sa_perf.plans.explain"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_LATER[name]), name)
