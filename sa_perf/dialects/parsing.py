"""sqlglot, kept from talking: it warns with the text of the statement."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_sqlglot"]

_LOGGER = logging.getLogger("sqlglot")


@contextmanager
def quiet_sqlglot() -> Iterator[None]:
    """Keep what sqlglot says of grammar that it skips out of the application's log.

    Only that of this thread: an application may use sqlglot itself.
    """
    thread = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    _LOGGER.addFilter(others)
    try:
        yield
    finally:
        _LOGGER.removeFilter(others)
