"""What sa_perf can be installed on, and what stands there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

    from sa_perf.post import Post

__all__ = ["Target", "engine_of", "post_on", "shown"]

Target: TypeAlias = "Engine | AsyncEngine | type[Engine]"


def engine_of(target: Engine | AsyncEngine) -> Engine:
    """The synchronous engine, or the one within an asynchronous one.

    Raises:
        TypeError: it is neither.
    """
    inner = getattr(target, "sync_engine", target)
    if not isinstance(inner, Engine):
        message = (
            f"cannot install on {shown(target)}; give an Engine, an AsyncEngine or the class Engine"
        )
        raise TypeError(message)
    return inner


def post_on(dialect: Dialect) -> Post | None:
    """What stands on the engine of a dialect; None where nothing does."""
    return cast("Post | None", getattr(dialect, "_sa_perf", None))


def shown(target: object) -> str:
    """A target in words: its repr hides the password, but a creator's URL may hold anything."""
    if isinstance(target, type):
        return target.__name__
    name = type(target).__name__
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
