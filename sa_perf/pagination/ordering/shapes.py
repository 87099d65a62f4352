"""What is known of statement shapes, kept for the next statement of one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Select

__all__ = ["Shapes"]

T = TypeVar("T")
_SHAPES_KEPT = 500


class Shapes(Generic[T]):
    """One fact about each of the statement shapes that were seen last; safe for threads.

    The fact must not depend on the values of bind parameters, but for their being NULL.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: OrderedDict[object, T] = OrderedDict()

    def of(self, stmt: Select[Any], *circumstances: object, find: Callable[[], T]) -> T:
        """The fact about a statement's shape, found if it is not known yet.

        Args:
            stmt: whose shape it is; SQLAlchemy keeps the key of it at the statement itself.
            *circumstances: what else the fact depends on.
            find: finds it.
        """
        cache_key = stmt._generate_cache_key()
        if cache_key is None:
            return find()
        # Whether a constant is NULL is no part of SQLAlchemy's key.
        nulls = tuple(one.value is None for one in cache_key.bindparams)
        key = (cache_key.key, nulls, circumstances)
        with self._lock:
            if key in self._facts:
                self._facts.move_to_end(key)
                return self._facts[key]
        found = find()
        with self._lock:
            self._facts[key] = found
            if len(self._facts) > _SHAPES_KEPT:
                self._facts.popitem(last=False)
        return found
