"""Pages as class methods of a mapped class: ``Article.page(session)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sa_perf.pagination.select import Select, select
from sa_perf.pagination.sessions import require_async, require_sync

if TYPE_CHECKING:
    from sqlalchemy.sql._typing import _ColumnExpressionArgument as Condition
    from sqlalchemy.sql._typing import _ColumnExpressionOrStrLabelArgument as Sort
    from sqlalchemy.sql.base import ExecutableOption

    from sa_perf.pagination.offset_page import OffsetPage
    from sa_perf.pagination.page import Page
    from sa_perf.pagination.select import KeysetOptions, OffsetOptions
    from sa_perf.pagination.select_types import te
    from sa_perf.pagination.sessions import AsyncSource, Source

    Where: TypeAlias = Condition[bool] | Sequence[Condition[bool]]
    OrderBy: TypeAlias = Sort[Any] | Sequence[Sort[Any]]

__all__ = ["PaginatedModel"]

T = TypeVar("T")


class PaginatedModel:
    """Pages for mapped classes: a mixin for one of them, or for the declarative base of all.

    A class that maps a column called ``page`` has that in place of the method.

    Example:
        >>> class Article(PaginatedModel, Base): ...
        >>> page = Article.page(session, order_by=Article.created_at.desc(), cursor=cursor)
        >>> page = Article.page_offset(session, where=Article.stars > 2, page=3, count="capped")
    """

    @classmethod
    def page(
        cls: type[T],
        session: Source,
        *,
        where: Where = (),
        order_by: OrderBy = (),
        load: Sequence[ExecutableOption] = (),
        cursor: str | None = None,
        before: str | None = None,
        **options: te.Unpack[KeysetOptions],
    ) -> Page[T]:
        """Read a page of objects that begins at a cursor: keyset pagination.

        Args:
            session: a Session or scoped_session.
            where: a condition, or several that must all hold.
            order_by: a column or expression, or several; by default the primary key.
            load: loader options, e.g. ``[selectinload(Article.comments)]``.
            cursor: ``next_cursor`` or ``previous_cursor`` of another page; None for the first.
            before: read backwards from this cursor, whatever direction it was made for.
            **options: see `sa_perf.pagination.PaginationMixin.paginate`.

        Raises:
            InvalidCursor: the cursor was not made for this list by this signer; no statement ran.
            ExpiredCursor: it was, but too long ago.
            PaginationError: the list cannot be paged, or an option is out of range.
        """
        require_sync(session, "page")
        stmt = _list_of(cls, where, order_by, load)
        return stmt.paginate(session, cursor=cursor, before=before, **options)

    @classmethod
    async def apage(
        cls: type[T],
        session: AsyncSource,
        *,
        where: Where = (),
        order_by: OrderBy = (),
        load: Sequence[ExecutableOption] = (),
        cursor: str | None = None,
        before: str | None = None,
        **options: te.Unpack[KeysetOptions],
    ) -> Page[T]:
        """`page` on an AsyncSession or async_scoped_session."""
        require_async(session, "apage")
        stmt = _list_of(cls, where, order_by, load)
        return await stmt.apaginate(session, cursor=cursor, before=before, **options)

    @classmethod
    def page_offset(
        cls: type[T],
        session: Source,
        *,
        where: Where = (),
        order_by: OrderBy = (),
        load: Sequence[ExecutableOption] = (),
        page: int = 1,
        **options: te.Unpack[OffsetOptions],
    ) -> OffsetPage[T]:
        """Read a page of objects by its number: offset pagination.

        Args:
            session: a Session or scoped_session.
            where: a condition, or several that must all hold.
            order_by: a column or expression, or several; by default the primary key.
            load: loader options, e.g. ``[selectinload(Article.comments)]``.
            page: its number, from 1 on.
            **options: see `sa_perf.pagination.PaginationMixin.paginate_offset`.

        Raises:
            PaginationError: the list cannot be paged, or a number is out of range.
        """
        require_sync(session, "page_offset")
        stmt = _list_of(cls, where, order_by, load)
        return stmt.paginate_offset(session, page=page, **options)

    @classmethod
    async def apage_offset(
        cls: type[T],
        session: AsyncSource,
        *,
        where: Where = (),
        order_by: OrderBy = (),
        load: Sequence[ExecutableOption] = (),
        page: int = 1,
        **options: te.Unpack[OffsetOptions],
    ) -> OffsetPage[T]:
        """`page_offset` on an AsyncSession or async_scoped_session."""
        require_async(session, "apage_offset")
        stmt = _list_of(cls, where, order_by, load)
        return await stmt.apaginate_offset(session, page=page, **options)


def _list_of(
    entity: type[T], where: Where, order_by: OrderBy, load: Sequence[ExecutableOption]
) -> Select[T]:
    """The statement that gives the objects of a class."""
    stmt = select(entity).where(*_several(where)).options(*load)
    sorts = _several(order_by)
    return stmt.order_by(*sorts) if sorts else stmt


def _several(given: Any) -> Sequence[Any]:  # noqa: ANN401  # SQL expressions are of many types
    return given if isinstance(given, (list, tuple)) else (given,)
