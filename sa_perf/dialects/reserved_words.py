"""Words that are no names unless they are quoted."""

from __future__ import annotations

from functools import cache

__all__ = ["reserved_words"]


@cache
def reserved_words(database: str) -> frozenset[str]:
    """The reserved words of a database in lower case, as SQLAlchemy knows them.

    Args:
        database: SQLAlchemy's name of it; of an unknown one there are none.
    """
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import NoSuchModuleError

    try:
        kind = URL.create(database).get_dialect()
    except NoSuchModuleError:
        return frozenset()
    return frozenset(kind().identifier_preparer.reserved_words)
