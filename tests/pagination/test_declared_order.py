"""Orders of pages that are declared for migrations."""

from __future__ import annotations

import pickle

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sa_perf.errors import PaginationError
from sa_perf.pagination import declare_order
from sa_perf.pagination.declared_order import declared_orders


def an_article() -> Table:
    return Table(
        "article",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("tenant", Integer),
        Column("title", String(20)),
    )


@pytest.mark.parametrize(
    ("order", "within", "columns"),
    [
        (["title"], [], "title, id"),
        (["-title"], [], "title DESC, id DESC"),
        (["title", "-id"], [], "title, id DESC"),
        (["-title"], ["tenant"], "tenant DESC, title DESC, id DESC"),
        (["-title", "tenant"], [], "title DESC, tenant, id"),
    ],
)
def test_the_primary_key_stands_behind_in_the_last_direction(
    order: list[str], within: list[str], columns: str
) -> None:
    table = an_article()
    keys = [table.c[one[1:]].desc() if one[0] == "-" else table.c[one] for one in order]
    found = declare_order(table, *keys, within=[table.c[one] for one in within])
    assert str(found) == columns
    assert declared_orders(table.metadata) == [found]


def test_a_mapped_class_declares_by_its_attributes() -> None:
    class Base(DeclarativeBase):
        pass

    class Article(Base):
        __tablename__ = "article"
        id: Mapped[int] = mapped_column(primary_key=True)
        written: Mapped[int] = mapped_column("written_at")

    assert str(declare_order(Article, Article.written.desc())) == "written_at DESC, id DESC"
    assert [one.table for one in declared_orders(Base.metadata)] == [Article.__table__]


def test_what_is_no_column_of_the_table_is_refused() -> None:
    table, other = an_article(), an_article()
    for key in (func.lower(table.c.title), other.c.title, "title", None):
        with pytest.raises(PaginationError, match=r"no column of 'article'.*: id, tenant, title"):
            declare_order(table, key)
    with pytest.raises(PaginationError, match="no order is given for 'article'"):
        declare_order(table)
    with pytest.raises(PaginationError, match="is neither a table nor a class"):
        declare_order("article", table.c.title)  # type: ignore[arg-type]  # the fault
    assert declared_orders(table.metadata) == []


def test_a_pickled_metadata_has_none() -> None:
    table = an_article()
    declare_order(table, table.c.title)
    copy = pickle.loads(pickle.dumps(table.metadata))  # noqa: S301  # our own
    assert declared_orders(copy) == []
