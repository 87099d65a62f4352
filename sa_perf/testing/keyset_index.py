"""That an index serves the pages of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sa_perf.pagination import KeysetPager, keyset
from sa_perf.pagination.sessions import require_sync

if TYPE_CHECKING:
    from sqlalchemy import Select

    from sa_perf.pagination.sessions import Source

__all__ = ["assert_keyset_indexed"]


def assert_keyset_indexed(session: Source, pages: KeysetPager[Any] | Select[Any]) -> None:
    """Fail unless an index serves the pages of a list, on tables of any size.

    Empty tables will do, but for a join on MariaDB, which then sorts whatever indexes it has.

    Sends EXPLAINs and reads one page, see `KeysetPager.verify`. What holds on one database need not
    on another, so test on the one that the application runs on.

    Example:
        >>> assert_keyset_indexed(session, select(Article).order_by(Article.created_at.desc()))

    Args:
        session: a Session, scoped_session or Connection on a database with the tables; with an
            async one: ``await session.run_sync(assert_keyset_indexed, pages)``.
        pages: a pager, or a statement that `sa_perf.pagination.keyset` takes.

    Raises:
        AssertionError: no index does; names the statement, the reason and the index to add.
        ExplainError: the database gave no plan.
        PaginationError: the statement cannot be paged.
        UnsupportedDatabase: no way to ask this database for a plan is known.
    """
    require_sync(
        session,
        "assert_keyset_indexed",
        instead="await session.run_sync(assert_keyset_indexed, pages)",
    )
    pager = pages if isinstance(pages, KeysetPager) else keyset(pages, signer="unsigned")
    found = pager.verify(session)
    if found.served:
        return
    lines = [f"no index serves pages ordered by {found.ordering}"]
    for page in found.pages:
        if page.verdict != "index":
            lines += [f"{page.page}: {page.reason}", f"  {' '.join(page.statement.split())}"]
    lines.append(found.remedy)
    raise AssertionError("\n".join(lines))
