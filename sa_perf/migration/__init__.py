"""sa_perf's own tables in a database: made, changed and checked.

Alembic is loaded when one of these is called, not before: an application's env.py may import this
while Alembic itself is half imported.
"""

from __future__ import annotations

from sa_perf.migration.commands import check, current, downgrade, release, upgrade
from sa_perf.migration.joining import configure
from sa_perf.migration.names import include_name
from sa_perf.tables import require_tables as require

__all__ = [
    "check",
    "configure",
    "current",
    "downgrade",
    "include_name",
    "release",
    "require",
    "upgrade",
]
