"""Keyset pages: continue behind a row, whatever the depth; the I/O.

A `KeysetPager` analyses its statement once per database and keeps the statements that it sends, so
make it once and use it for every request; it holds no connection and may be shared by threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from sqlalchemy import Select

from sa_perf.errors import PaginationError
from sa_perf.pagination.counting import How, checked_how, count
from sa_perf.pagination.cursors.payload import Anchor
from sa_perf.pagination.cursors.signer import CursorSigner
from sa_perf.pagination.options import checked_scope, checked_signer, whole
from sa_perf.pagination.ordering.clock import refuse_clock
from sa_perf.pagination.ordering.wrapping import pageable
from sa_perf.pagination.page import Page
from sa_perf.pagination.prepared import Prepared
from sa_perf.pagination.sessions import connection_of, dialect_of, in_session, require_sync

if TYPE_CHECKING:
    from sqlalchemy import CompoundSelect, Row
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

    from sa_perf.pagination.index_check.check import IndexCheck
    from sa_perf.pagination.select_types import Unpack as Spread
    from sa_perf.pagination.select_types import te
    from sa_perf.pagination.sessions import AsyncSource, Source

    Ts = te.TypeVarTuple("Ts")

__all__ = ["KeysetPager", "keyset"]

T = TypeVar("T")
#: Engines that a pager keeps statements for; more than an application has.
_MAX_DIALECTS = 32


# fmt: off
@overload
def keyset(  # type: ignore[overload-overlap, unused-ignore]  # one thing is the narrower
    stmt: Select[Spread[tuple[T]]] | CompoundSelect[Spread[tuple[T]]],
    *, size: int = ..., max_size: int = ..., signer: CursorSigner | str | None = ...,
    scope: Sequence[object] = ..., count: How = ..., unique: bool = ..., warn_unindexed: bool = ...,
) -> KeysetPager[T]: ...
@overload
def keyset(  # type: ignore[overload-cannot-match, unused-ignore]  # with several things it does
    stmt: Select[Spread[tuple[te.Unpack[Ts]]]] | CompoundSelect[Spread[tuple[te.Unpack[Ts]]]],
    *, size: int = ..., max_size: int = ..., signer: CursorSigner | str | None = ...,
    scope: Sequence[object] = ..., count: How = ..., unique: bool = ..., warn_unindexed: bool = ...,
) -> KeysetPager[Row[Spread[tuple[te.Unpack[Ts]]]]]: ...
# fmt: on


def keyset(
    stmt: Any,
    *,
    size: int = 50,
    max_size: int = 200,
    signer: CursorSigner | str | None = None,
    scope: Sequence[object] = (),
    count: Any = "none",
    unique: bool = False,
    warn_unindexed: bool = False,
) -> KeysetPager[Any]:
    """Pages of a statement that take the same time at any depth.

    A page continues behind the last row of the one before, by the values that rows are sorted by,
    so an index on these serves every page, and rows that are inserted or deleted meanwhile make
    none appear twice or get lost. Where the ORDER BY leaves ties, the primary key is added to it.

    Example:
        >>> pager = keyset(select(Article).order_by(Article.created_at.desc()), signer=signer)
        >>> page = pager.page(session)
        >>> following = pager.page(session, page.next_cursor)

    Args:
        stmt: a Select or UNION, of mapped classes, columns or both, ordered by anything that has a
            value; without ORDER BY the primary key orders it.
        size: items of a page, 1 to ``max_size``.
        max_size: the largest size that a page may be asked for.
        signer: of the cursors; None takes the keys from ``SA_PERF_CURSOR_KEYS``, ``"unsigned"``
            leaves cursors open to whoever wants to read and change them.
        scope: what a cursor is bound to beside the statement's shape: the tenant, the values of
            filters. A tuple or list of numbers, texts, dates, UUIDs, None.
        count: count all items too: ``"none"``, ``"exact"``, ``"capped"``, ``"estimated"``.
        unique: the ORDER BY tells every row from every other, though no key of a table says so.
        warn_unindexed: give an `UnindexedPageWarning` where no index serves the order, once for
            each order in a process; costs some EXPLAINs before the first page, see
            `KeysetPager.verify`.

    Raises:
        PaginationError: the statement cannot be paged, or a number is out of range.
    """
    return KeysetPager(
        stmt,
        size=size,
        max_size=max_size,
        signer=checked_signer(signer),
        scope=checked_scope(scope),
        count=count,
        unique=unique,
        warn_unindexed=warn_unindexed,
    )


class KeysetPager(Generic[T]):
    """Pages of one statement; made by `sa_perf.pagination.keyset`.

    Args:
        stmt: see `keyset`, as for the others.
        size: items of a page.
        max_size: that a caller of `page` may ask for.
        signer: of the cursors.
        scope: what else a cursor is bound to.
        count: how to count all items.
        unique: the ORDER BY makes each row unique.
        warn_unindexed: look for an index before the first page.
    """

    def __init__(
        self,
        stmt: Select[Any],
        *,
        size: int,
        max_size: int,
        signer: CursorSigner | None,
        scope: Sequence[object],
        count: How,
        unique: bool,
        warn_unindexed: bool = False,
    ) -> None:
        self.stmt = pageable(stmt)
        refuse_clock(stmt)
        self.size = whole("size", size, whole("max_size", max_size))
        self.max_size = max_size
        self._signer = signer
        self._scope = scope
        self._count = checked_how(count)
        self._unique = unique
        self._warn_unindexed = warn_unindexed
        self._original = stmt
        self._prepared: dict[tuple[SQLAlchemyDialect, bool], Prepared] = {}

    def page(
        self,
        session: Source,
        cursor: str | None = None,
        *,
        before: str | None = None,
        size: int | None = None,
    ) -> Page[T]:
        """Read a page.

        One statement, two where the page crosses from values to NULLs or the row that the cursor
        stands for was deleted. In READ COMMITTED these may see different states.

        Args:
            session: a Session, scoped_session or Connection.
            cursor: ``next_cursor`` or ``previous_cursor`` of another page; None for the first.
            before: read backwards from this cursor, whatever direction it was made for.
            size: items wanted, 1 to ``max_size``.

        Raises:
            InvalidCursor: the cursor was not made for this list by this signer; no statement ran.
            ExpiredCursor: it was, but too long ago.
            PaginationError: ``size`` is out of range, or the statement cannot be paged.
        """
        require_sync(session, "page")
        wanted = self.size if size is None else whole("size", size, self.max_size)
        prepared = self._for(session)
        prepared.require_keys()
        anchor = prepared.anchor(cursor, before)
        page, _ = _read(prepared, session, anchor, wanted)
        if self._count != "none":
            page.total = count(session, self._original, self._count)
        return page

    async def apage(
        self,
        session: AsyncSource,
        cursor: str | None = None,
        *,
        before: str | None = None,
        size: int | None = None,
    ) -> Page[T]:
        """`page` on an AsyncSession, async_scoped_session or AsyncConnection."""

        def read(sync: Any) -> Page[T]:  # noqa: ANN401
            return self.page(sync, cursor, before=before, size=size)

        return await in_session(session, read, call="apage")

    def pages(self, session: Source, *, size: int | None = None) -> Iterator[Page[T]]:
        """Read all pages one after the other; holds one at a time.

        Rows that are inserted behind the current page meanwhile are read too. It needs no cursor
        keys, unless a page is asked for its cursors. The pages have no total.
        """
        require_sync(session, "pages", instead="async for page in apages(...)")
        wanted = self.size if size is None else whole("size", size, self.max_size)
        return self._each_page(session, wanted)

    async def apages(
        self, session: AsyncSource, *, size: int | None = None
    ) -> AsyncIterator[Page[T]]:
        """`pages` on an AsyncSession, async_scoped_session or AsyncConnection."""

        def begin(sync: Any) -> Iterator[Page[T]]:  # noqa: ANN401
            return self.pages(sync, size=size)

        pages = await in_session(session, begin, call="apages")
        while True:
            page = await in_session(session, lambda _: next(pages, None), call="apages")
            if page is None:
                return
            yield page

    def _each_page(self, session: Source, size: int) -> Iterator[Page[T]]:
        prepared = self._for(session)
        anchor: Anchor | None = None
        while True:
            page, edges = _read(prepared, session, anchor, size)
            if page or anchor is None:
                yield page
            if not page.has_next:
                return
            following = edges.anchor(-1, backwards=False)
            if anchor is not None and following is not None and _stands_still(anchor, following):
                raise PaginationError(
                    "the next page would begin where this one did: the database does not find the "
                    "values that it gave for the sort keys; order by other columns, or cast them"
                )
            anchor = following

    def verify(self, session: Source) -> IndexCheck:
        """Whether an index serves the pages, and if not, which would.

        Explains the statements of the first page and of pages further on and backwards; reads one
        page and looks up a row by the table's key. The transaction is left as it was. Where the
        planner would rather sort, since a table has few rows, it is asked for a plan without.

        Args:
            session: a Session, scoped_session or Connection.

        Raises:
            ExplainError: the database gave no plan.
            PaginationError: the statement cannot be paged.
            UnsupportedDatabase: no way to ask this database for a plan is known.
        """
        from sa_perf.pagination.index_check.check import check

        require_sync(session, "verify")
        _, orm = dialect_of(session, self.stmt)
        connection = connection_of(session, self.stmt)
        return check(self.stmt, connection, size=self.size, unique=self._unique, session=orm)

    async def averify(self, session: AsyncSource) -> IndexCheck:
        """`verify` on an AsyncSession, async_scoped_session or AsyncConnection."""
        return await in_session(session, self.verify, call="averify")

    def _for(self, session: Source) -> Prepared:
        dialect, orm = dialect_of(session, self.stmt)
        prepared = self._prepared.get((dialect, orm))
        if prepared is None:
            prepared = Prepared(
                self.stmt, dialect, self._signer, self._scope, orm=orm, unique=self._unique
            )
            if len(self._prepared) >= _MAX_DIALECTS:
                self._prepared = {}
            self._prepared[dialect, orm] = prepared
            if self._warn_unindexed:
                from sa_perf.pagination.index_check.check import warn_once

                warn_once(prepared.order, lambda: self.verify(session))
        return prepared


@dataclass(frozen=True, slots=True)
class _Edges:
    """Where a page's neighbours begin.

    Attributes:
        prepared: of the pager.
        rows: raw rows of the page's items.
        size: items wanted.
        start: where the page began itself.
    """

    prepared: Prepared
    rows: list[Any]
    size: int
    start: Anchor | None

    def anchor(self, index: int, *, backwards: bool) -> Anchor | None:
        """The place behind (or before) an item; of a page without items, where it began."""
        if not self.rows:
            if self.start is None:
                return None
            return Anchor(self.start.values, backwards=backwards, inclusive=True)
        first, last = self.prepared.values(self.rows[0]), self.prepared.values(self.rows[-1])
        # A whole page with one value in the lead: there may be many such pages.
        tied = len(self.rows) == self.size and first[0] == last[0]
        return Anchor(self.prepared.values(self.rows[index]), backwards=backwards, tied=tied)

    def cursor(self, index: int, backwards: bool) -> str | None:
        anchor = self.anchor(index, backwards=backwards)
        return None if anchor is None else self.prepared.token(anchor)


def _read(
    prepared: Prepared, session: Source, anchor: Anchor | None, size: int
) -> tuple[Page[Any], _Edges]:
    """Read the page at an anchor, with one row more, and from the anchor's own row on.

    Whether the anchor's row is still there tells whether rows stand before the page, without a
    statement for it.
    """
    backwards = anchor is not None and anchor.backwards
    items, rows = prepared.fetch(
        session, anchor, size + (1 if anchor is None else 2), backwards=backwards
    )
    beyond = False
    if anchor is not None:
        if rows and not anchor.inclusive and _same(prepared.values(rows[0]), anchor.values):
            del items[0], rows[0]
            beyond = True
        else:
            beyond = _any_beyond(prepared, session, anchor)
    ahead = len(items) > size
    del items[size:], rows[size:]
    if backwards:
        items.reverse()
        rows.reverse()
    edges = _Edges(prepared, rows, size, anchor)
    has_next, has_previous = (beyond, ahead) if backwards else (ahead, beyond)
    page: Page[Any] = Page(
        items, size=size, has_next=has_next, has_previous=has_previous, edge=edges.cursor
    )
    return page, edges


def _stands_still(anchor: Anchor, following: Anchor) -> bool:
    return not following.inclusive and _same(anchor.values, following.values)


def _any_beyond(prepared: Prepared, session: Source, anchor: Anchor) -> bool:
    """Whether rows stand on the other side of an anchor, its own not counted."""
    _, rows = prepared.fetch(session, anchor, 2, backwards=not anchor.backwards)
    return any(not _same(prepared.values(row), anchor.values) for row in rows)


def _same(one: Sequence[object], other: Sequence[object]) -> bool:
    """Whether two rows have the same sort values; NaN is the same as NaN."""
    return len(one) == len(other) and all(map(_alike, one, other))


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return _same(one, other)
    return bool(one == other or (one != one and other != other))
