"""Asynchronous engines are refused, with what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.errors import RetentionError

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["refuse_asynchronous"]


def refuse_asynchronous(engine: Engine) -> None:
    """Let pass what is synchronous, as the engine within ``run_sync`` is.

    Raises:
        RetentionError: the engine is asynchronous.
    """
    if hasattr(engine, "sync_engine"):
        raise RetentionError(
            f"{engine!r} is asynchronous, and its sync_engine works only within SQLAlchemy's "
            "greenlets; write: async with engine.connect() as connection: await "
            "connection.run_sync(lambda inner: function(inner.engine, ...)), for run also: await "
            "arun(engine, ...), or make an engine with a synchronous driver"
        )
