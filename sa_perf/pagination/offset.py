"""Offset pages: by number, with totals; time grows with depth.

The database reads and throws away every row before a page, so `keyset` is the right choice for
lists that are read far. What can be done here is done: rows are sorted in a total order so that
pages neither overlap nor leave rows out, far pages look up the rows of their keys only, and
``max_page`` keeps visitors from asking for the millionth.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from sqlalchemy import Connection, Select
from sqlalchemy.orm import lazyload
from sqlalchemy.sql.elements import BindParameter

from sa_perf.errors import PaginationError
from sa_perf.pagination.counting import (
    Count,
    checked_how,
    count,
    criteria_of,
)
from sa_perf.pagination.deferred import DeferredJoin, deferred_join_of
from sa_perf.pagination.offset_page import OffsetPage
from sa_perf.pagination.options import whole
from sa_perf.pagination.ordering.clauses import Sorted, has_entities, sorted_by
from sa_perf.pagination.ordering.froms import bare
from sa_perf.pagination.ordering.keys import tie_breaks
from sa_perf.pagination.ordering.missing_joins import refuse_missing_joins
from sa_perf.pagination.ordering.uniqueness import require_once
from sa_perf.pagination.ordering.wrapping import pageable
from sa_perf.pagination.sessions import in_session, require_sync

if TYPE_CHECKING:
    from sqlalchemy import CompoundSelect, Row, TextualSelect

    from sa_perf.pagination.counting import How
    from sa_perf.pagination.select_types import Unpack as Spread
    from sa_perf.pagination.select_types import te
    from sa_perf.pagination.sessions import AsyncSource, Source

    Ts = te.TypeVarTuple("Ts")

__all__ = ["OffsetPager", "offset"]

T = TypeVar("T")

#: Rows before a page from which on its keys are found first. Measured with rows of 200 bytes:
#: sooner the join costs SQLite and PostgreSQL more than it saves, later MariaDB sorts whole rows.
DEEP_ROWS = 2_000
_MAX_OFFSET = 2**63 - 1


# fmt: off
@overload
def offset(  # type: ignore[overload-overlap, unused-ignore]  # one thing is the narrower
    stmt: Select[Spread[tuple[T]]] | CompoundSelect[Spread[tuple[T]]],
    *, size: int = ..., max_size: int = ..., max_page: int | None = ..., count: How = ...,
    unique: bool = ..., deferred_join: bool = ...,
) -> OffsetPager[T]: ...
@overload
def offset(  # type: ignore[overload-cannot-match, unused-ignore]  # with several things it does
    stmt: Select[Spread[tuple[te.Unpack[Ts]]]] | CompoundSelect[Spread[tuple[te.Unpack[Ts]]]],
    *, size: int = ..., max_size: int = ..., max_page: int | None = ..., count: How = ...,
    unique: bool = ..., deferred_join: bool = ...,
) -> OffsetPager[Row[Spread[tuple[te.Unpack[Ts]]]]]: ...
# fmt: on


def offset(
    stmt: Any,
    *,
    size: int = 50,
    max_size: int = 200,
    max_page: int | None = None,
    count: How = "none",
    unique: bool = False,
    deferred_join: bool = True,
) -> OffsetPager[Any]:
    """Pages of a statement by number.

    Where the ORDER BY leaves ties, the primary key is added to it: rows that sort alike come in
    any order, which may be another for each page, so some would be shown twice and some never.

    Example:
        >>> pager = offset(select(Article).order_by(Article.title), size=20, count="capped")
        >>> page = pager.page(session, 3)
        >>> page.numbers()
        [1, 2, 3, 4]

    Args:
        stmt: a Select or UNION, of mapped classes, columns or both; without ORDER BY the primary
            key orders it. LIMIT and OFFSET of its own stay: the pages are those of its rows.
        size: items of a page, 1 to ``max_size``.
        max_size: the largest size that a page may be asked for.
        max_page: the last page that may be asked for; None: any.
        count: count all items too: ``"none"``, ``"exact"``, ``"capped"`` (up to 10,000, or
            ``Capped(limit)``), ``"estimated"``. Where a page shows the end, nothing is counted.
        unique: the ORDER BY tells every row from every other, though no key of a table says so.
        deferred_join: from row 2,000 on find the keys of a page's rows first, where the statement
            selects from one table with a single primary key. Same rows, same order, faster.

    Raises:
        PaginationError: the statement cannot be paged, or a number is out of range.
    """
    return OffsetPager(
        stmt,
        size=size,
        max_size=max_size,
        max_page=max_page,
        count=count,
        unique=unique,
        deferred_join=deferred_join,
    )


class OffsetPager(Generic[T]):
    """Pages of one statement by number; made by `sa_perf.pagination.offset`.

    It holds no connection and may be shared by threads.

    Args:
        stmt: see `offset`, as for the others.
        size: items of a page.
        max_size: the largest size of a page.
        max_page: the last page.
        count: how to count all items.
        unique: the ORDER BY makes each row unique.
        deferred_join: find keys first on far pages.
    """

    def __init__(
        self,
        stmt: Select[Any] | CompoundSelect[Any] | TextualSelect,
        *,
        size: int = 50,
        max_size: int = 200,
        max_page: int | None = None,
        count: How = "none",
        unique: bool = False,
        deferred_join: bool = True,
    ) -> None:
        self.max_size = whole("max_size", max_size)
        self.size = whole("size", size, self.max_size)
        self.max_page = None if max_page is None else whole("max_page", max_page)
        self._how = checked_how(count)
        own = _own_window(stmt)
        self._first, self._limit = own or (0, None)
        self._counted = stmt if own is not None and isinstance(stmt, Select) else pageable(stmt)
        self._stmt = _totally_ordered(self._counted, unique=unique)
        self._defers = deferred_join

    def page(self, session: Source, number: int = 1, *, size: int | None = None) -> OffsetPage[T]:
        """Read a page; one behind the end has no items.

        One statement for the items and one for the total, where one is wanted and the page does
        not show the end. In READ COMMITTED these may see different states.

        Args:
            session: a Session, scoped_session or Connection.
            number: of the page, from 1 on.
            size: items wanted, 1 to ``max_size``.

        Raises:
            PaginationError: a number is out of range; nothing was sent.
        """
        require_sync(session, "page")
        wanted = self.size if size is None else whole("size", size, self.max_size)
        skip = self._skipped(number, wanted)
        items = self._read(session, skip, wanted + 1)
        more = len(items) > wanted
        total = self._total(session, skip, len(items), more=more)
        return OffsetPage(
            items[:wanted],
            number=number,
            size=wanted,
            more=more,
            total=total,
            max_page=self.max_page,
        )

    async def apage(
        self, session: AsyncSource, number: int = 1, *, size: int | None = None
    ) -> OffsetPage[T]:
        """`page` on an AsyncSession, async_scoped_session or AsyncConnection."""

        def read(sync: Any) -> OffsetPage[T]:  # noqa: ANN401
            return self.page(sync, number, size=size)

        return await in_session(session, read, call="apage")

    def _skipped(self, number: int, size: int) -> int:
        """Rows before a page."""
        if self.max_page is not None and isinstance(number, int) and number > self.max_page:
            raise PaginationError(
                f"page {number} is behind the last one that may be asked for, {self.max_page}: the "
                "database reads every row before a page; keyset() goes on at any depth"
            )
        whole("number", number, self.max_page)
        return (whole("number", number, (_MAX_OFFSET - self._first) // size) - 1) * size

    def _read(self, session: Source, skip: int, rows: int) -> list[T]:
        if self._limit is not None:
            rows = min(rows, self._limit - skip)
        if rows <= 0:
            return []
        form = self._as_rows if isinstance(session, Connection) else self._as_objects
        result: Any = session.execute(form.window(rows, self._first + skip))
        # Where joined loads of collections give an object several rows, the result wants unique();
        # elsewhere that would drop rows that only look alike.
        if result._unique_filter_state is not None and self._objects_once:
            result = result.unique()
        found = result.all()
        # The result's keys do not tell: an alias of a class has none.
        return [row[0] for row in found] if found and len(found[0]) == 1 else found

    def _total(self, session: Source, skip: int, seen: int, *, more: bool) -> Count | None:
        if self._how == "none":
            return None
        if not more and (seen or not skip):
            return Count(skip + seen)
        found = count(session, self._counted, self._how)
        if found is not None and found.kind == "estimated" and found.value < skip + seen:
            return Count(skip + seen, "estimated")  # there are that many for certain
        return found

    @cached_property
    def _as_objects(self) -> _Form:
        return _Form(self._stmt, defers=self._defers)

    @cached_property
    def _as_rows(self) -> _Form:
        """For a connection, which makes no objects: joined loads would only repeat its rows."""
        stmt = self._stmt
        if has_entities(stmt):
            stmt = bare(stmt).options(lazyload("*"), *criteria_of(stmt))
        return _Form(stmt, defers=self._defers)

    @cached_property
    def _objects_once(self) -> bool:
        require_once(self._stmt)
        return True


class _Form:
    """A statement that is sent for each page."""

    def __init__(self, stmt: Select[Any], *, defers: bool) -> None:
        self._stmt = stmt
        self._defers = defers

    def window(self, limit: int, offset: int) -> Select[Any]:
        """The statement that gives some of the rows."""
        if offset >= DEEP_ROWS and self._deferred is not None:
            return self._deferred.window(limit, offset)
        return self._stmt.limit(limit).offset(offset)

    @cached_property
    def _deferred(self) -> DeferredJoin | None:
        return deferred_join_of(self._stmt) if self._defers else None


def _totally_ordered(stmt: Select[Any], *, unique: bool) -> Select[Any]:
    """The statement, sorted so that no two rows sort alike."""
    ordered = sorted_by(stmt)
    refuse_missing_joins(stmt)
    if unique:
        if not ordered:
            raise PaginationError("unique=True vouches for the ORDER BY, but there is none")
        return stmt
    # Tie-breaks go the way of the last key, so that one index serves them all.
    descending = bool(ordered) and ordered[-1].descending
    ties = [Sorted(one, descending, nulls_first=None) for one in tie_breaks(stmt)]
    return stmt.order_by(*(tie.applied_to(tie.expression) for tie in ties)) if ties else stmt


def _own_window(stmt: Any) -> tuple[int, int | None] | None:  # noqa: ANN401
    """The statement's own OFFSET and LIMIT; None where they are no plain numbers."""
    if not isinstance(stmt, Select) or stmt._fetch_clause is not None:
        return None
    values: list[int | None] = []
    for clause in (stmt._offset_clause, stmt._limit_clause):
        value = clause.effective_value if isinstance(clause, BindParameter) else None
        if clause is not None and not isinstance(value, int):
            return None
        values.append(value)
    return values[0] or 0, values[1]
