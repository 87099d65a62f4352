"""Pages as an application takes them, checked by mypy and pyright, both strict; never run.

With SQLAlchemy 2.0 and with 2.1: a statement of one thing gives that thing, one of several gives
rows. The type of a row is written in two ways there, its ``_tuple()`` in one.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, create_engine, func, union
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Query,
    Session,
    joinedload,
    mapped_column,
    scoped_session,
    sessionmaker,
)
from typing_extensions import assert_type

from sa_perf.errors import ExpiredCursor, InvalidCursor, PaginationError
from sa_perf.pagination import (
    CursorSigner,
    KeysetPager,
    OffsetPage,
    OffsetPager,
    Page,
    PaginatedModel,
    PaginatedQuery,
    PaginationMixin,
    Select,
    keyset,
    offset,
    select,
)


class Base(PaginatedModel, DeclarativeBase):
    """The application's own models; each has pages."""


class User(Base):
    """A user."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]


engine: Engine = create_engine("sqlite://")
signer = CursorSigner(["a key of an application's own"])


def functions(session: Session, connection: Connection, local: scoped_session[Session]) -> None:
    """keyset() and offset() of SQLAlchemy's own statements."""
    users = sqlalchemy.select(User).where(User.id > 1).order_by(User.name)
    assert_type(keyset(users, size=20, signer=signer), KeysetPager[User])
    assert_type(keyset(users).page(session), Page[User])
    assert_type(keyset(users).page(local).items, list[User])
    assert_type(keyset(users).page(session, "cursor", size=3).next_cursor, str | None)
    assert_type([user.name for user in keyset(users).page(session)], list[str])
    assert_type(offset(users, count="exact"), OffsetPager[User])
    assert_type(offset(users).page(session, 3), OffsetPage[User])
    assert_type(offset(users).page(connection).items[0], User)

    assert_type(keyset(sqlalchemy.select(User.id)), KeysetPager[int])
    assert_type(keyset(sqlalchemy.select(User.email)), KeysetPager[str | None])
    assert_type(offset(sqlalchemy.select(func.count(User.id))), OffsetPager[int])
    for page in keyset(users).pages(session):
        assert_type(page, Page[User])
    keyset(users, signer="unsigned", scope=("tenant", 7), count="capped", unique=True)
    keyset(sqlalchemy.select(User.__table__)).page(connection)


def rows(session: Session) -> None:
    """Of several things: rows."""
    stmt = sqlalchemy.select(User, User.name).join(User, User.id > 1).limit(3)
    page = keyset(stmt).page(session)
    assert_type(page.items[0]._tuple(), tuple[User, str])
    assert_type(page.items[0].name, Any)
    assert_type(offset(stmt).page(session)[0]._tuple(), tuple[User, str])
    three = sqlalchemy.select(User.id, User.email, User)
    for row in keyset(three).page(session):
        assert_type(row._tuple(), tuple[int, str | None, User])
    both = union(sqlalchemy.select(User.id, User.name), sqlalchemy.select(User.id, User.name))
    assert_type(keyset(both).page(session).items[0]._tuple(), tuple[int, str])
    assert_type(offset(both).page(session).items[0]._tuple(), tuple[int, str])
    assert_type(keyset(union(sqlalchemy.select(User.id))), KeysetPager[int])


async def asynchronous(
    session: AsyncSession, connection: AsyncConnection, local: async_scoped_session[AsyncSession]
) -> None:
    """The asynchronous twins."""
    users = sqlalchemy.select(User)
    assert_type(await keyset(users).apage(session), Page[User])
    assert_type(await offset(users).apage(local, 2), OffsetPage[User])
    async for page in keyset(users).apages(session):
        assert_type(page.items, list[User])
    assert_type(await select(User).apaginate(session, size=3), Page[User])
    assert_type(await select(User.id).apaginate_offset(connection, page=3), OffsetPage[int])
    first = await select(User, User.id).apaginate(session)
    assert_type(first.items[0]._tuple(), tuple[User, int])
    assert_type(await User.apage(session, order_by="name"), Page[User])
    assert_type(await User.apage_offset(local, page=2), OffsetPage[User])


def methods(session: Session, connection: Connection) -> None:
    """sa_perf's own statements: pages by their methods, else as SQLAlchemy's."""
    users = select(User).where(User.id > 1).order_by(User.name).options(joinedload("*")).limit(9)
    assert_type(users, Select[User])
    assert_type(users.paginate(session, size=20, cursor=None, signer=signer), Page[User])
    assert_type(users.paginate_offset(session, page=3, count="exact"), OffsetPage[User])
    assert_type(users.keyset(size=20), KeysetPager[User])
    assert_type(keyset(users), KeysetPager[User])
    assert_type(offset(users), OffsetPager[User])
    assert_type(session.scalars(users).all()[0], User)
    assert_type(session.scalar(users), User | None)
    assert_type(connection.execute(select(User.id)).scalar_one(), int)

    pairs = select(User.id, User.name).join(User).distinct()
    assert_type(pairs, Select[int, str])
    assert_type(pairs.paginate(session).items[0]._tuple(), tuple[int, str])
    assert_type(pairs.paginate_offset(session)[0]._tuple(), tuple[int, str])
    assert_type(keyset(pairs).page(session).items[0]._tuple(), tuple[int, str])
    assert_type(session.execute(pairs).one()._tuple(), tuple[int, str])
    one, two = User.id, User.name
    ten = select(one, two, one, two, one, two, one, two, one, User).paginate(session)
    assert_type(ten.items[0]._tuple(), tuple[int, str, int, str, int, str, int, str, int, User])
    select(User.__table__).paginate(connection, signer="unsigned", scope=("tenant", 7))
    plain: sqlalchemy.Select[Any] = select(User.id)
    annotated: Select[User] = select(User)
    mixed: PaginationMixin = annotated
    print(plain, mixed)


def models(session: Session, local: scoped_session[Session]) -> None:
    """Pages of a mapped class."""
    page = User.page(session, where=User.id > 1, order_by=User.name.desc(), size=3, signer=signer)
    assert_type(page, Page[User])
    found = User.page_offset(
        local, where=[User.id > 1, User.name != ""], order_by=["name", User.id], page=2, max_page=9
    )
    assert_type(found, OffsetPage[User])
    assert_type(User.page(session, load=[joinedload("*")], before="cursor").items, list[User])


def queries(session: Session) -> None:
    """Legacy queries."""
    query = PaginatedQuery[User](User, session).filter(User.id > 1)
    assert_type(query, PaginatedQuery[User])
    assert_type(query.paginate(size=3, cursor=None, signer=signer), Page[User])
    assert_type(query.paginate_offset(page=2, size=3), OffsetPage[User])
    assert_type(query.paginate_offset(session), OffsetPage[User])
    assert_type(query.keyset(signer=signer), KeysetPager[User])
    legacy: Query[User] = query
    print(legacy, sessionmaker(engine, query_cls=PaginatedQuery))


def mistakes(session: Session, asynchronous: AsyncSession) -> None:
    """A wrong argument is an error of types, not only at run time."""
    users = select(User)
    users.paginate(asynchronous)  # type: ignore[arg-type]
    users.paginate(session, size="3")  # type: ignore[arg-type]
    users.paginate(session, page=3)  # type: ignore[call-arg]
    users.paginate_offset(session, cursor="a")  # type: ignore[call-arg]
    keyset(users, count="all")  # type: ignore[call-overload]
    try:
        users.paginate(session, cursor="a")
    except ExpiredCursor as expired:
        refused: InvalidCursor = expired
        print(refused)
    except (InvalidCursor, PaginationError):
        pass
