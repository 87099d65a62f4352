"""A SELECT's types, written alike for SQLAlchemy 2.0 and 2.1.

What 2.0 writes ``Select[tuple[A, B]]`` and ``Row[tuple[A, B]]`` is ``Select[A, B]`` and
``Row[A, B]`` in 2.1. Both are ``Select[Spread[tuple[A, B]]]`` after
``from sa_perf.pagination.select_types import Unpack as Spread``. All this is for type checkers
alone, so import it under ``TYPE_CHECKING``.

It hangs on one name that ``sqlalchemy.util.typing`` has since 2.1: ``Unpack``. Where 2.0 lacks it,
it is Union here, and the Union of one type is that type. mypy keeps the first import of a name and
pyright the last, hence two from there. tests/typing holds both checkers to it, with both versions.

Before 2.0.39 SQLAlchemy does not type a UNION, and on Python 3.10 nothing here has a type before
2.0.40; the code runs all the same.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # isort: off
    if sys.version_info >= (3, 11):
        import typing as te
    else:  # typing_extensions, which SQLAlchemy depends on and sa_perf does not
        from sqlalchemy.util.typing import typing_extensions as te  # type: ignore[attr-defined]
    from sqlalchemy.util.typing import *  # noqa: F403
    from typing import Union as Unpack  # type: ignore[assignment, no-redef, unused-ignore]
    from sqlalchemy.util.typing import *  # type: ignore[assignment, no-redef, unused-ignore]  # noqa: F403

__all__ = ["Unpack", "te"]
