"""What must hold of pages whatever the order, the data and the changes between pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Column, Engine, Integer, MetaData, Table, case, func, select

from sa_perf.pagination import CursorSigner, keyset

SIGNER = CursorSigner(["a key that only these tests have, of some length"])
METADATA = MetaData()
ROWS = Table(
    "property_row",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("a", Integer, nullable=True),
    Column("b", Integer, nullable=False),
    Column("c", Integer, nullable=True),
    Column("flag", Boolean, nullable=False),
)
SMALL = st.integers(0, 3)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"a": st.none() | SMALL, "b": SMALL, "c": st.none() | SMALL, "flag": st.booleans()}
    ),
    max_size=40,
)
EXPRESSIONS = {
    "a": ROWS.c.a,
    "b": ROWS.c.b,
    "c": ROWS.c.c,
    "flag": ROWS.c.flag,
    "id": ROWS.c.id,
    "sum": ROWS.c.a + ROWS.c.c,
    "case": case((ROWS.c.a == 1, 1), else_=0),
    "filled": func.coalesce(ROWS.c.c, 2),
}
KEYS = st.lists(
    st.tuples(
        st.sampled_from(sorted(EXPRESSIONS)),
        st.booleans(),
        st.sampled_from([None, "first", "last"]),
    ),
    max_size=4,
)
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MANY = settings(
    max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def engine(shared_db: Any) -> Iterator[Engine]:
    """Each database in turn, with the table."""
    made = shared_db.engine()
    METADATA.drop_all(made)
    METADATA.create_all(made)
    yield made
    METADATA.drop_all(made)
    made.dispose()


def _ordered(keys: list[tuple[str, bool, str | None]]) -> Any:
    clauses = []
    for name, descending, nulls in keys:
        clause: Any = EXPRESSIONS[name].desc() if descending else EXPRESSIONS[name].asc()
        if nulls is not None:
            clause = clause.nulls_first() if nulls == "first" else clause.nulls_last()
        clauses.append(clause)
    return select(ROWS).order_by(*clauses)


def _value(row: dict[str, Any], name: str) -> Any:
    if name == "sum":
        return None if row["a"] is None or row["c"] is None else row["a"] + row["c"]
    if name == "case":
        return 1 if row["a"] == 1 else 0
    if name == "filled":
        return 2 if row["c"] is None else row["c"]
    return row[name]


def _expected(
    rows: list[dict[str, Any]], keys: list[tuple[str, bool, str | None]], nulls_largest: bool
) -> list[int]:
    """The order by Python's own sort: an oracle that knows nothing of SQL."""
    # sorted(reverse=True) keeps the order of equals, as a sort by several keys needs it.
    found = sorted(rows, key=lambda row: row["id"], reverse=bool(keys) and keys[-1][1])
    for name, descending, nulls in reversed(keys):
        first = descending == nulls_largest if nulls is None else nulls == "first"
        full = [row for row in found if _value(row, name) is not None]
        empty = [row for row in found if _value(row, name) is None]
        full = sorted(full, key=lambda row: _value(row, name), reverse=descending)
        found = [*empty, *full] if first else [*full, *empty]
    return [row["id"] for row in found]


def _write(engine: Engine, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = [{"id": at + 1, **record} for at, record in enumerate(records)]
    with engine.begin() as connection:
        connection.execute(ROWS.delete())
        if rows:
            connection.execute(ROWS.insert(), rows)
    return rows


def _check_pages(engine: Engine, records: Any, keys: Any, size: int) -> None:
    rows = _write(engine, records)
    expected = _expected(rows, keys, engine.dialect.name == "postgresql")
    pager = keyset(_ordered(keys), size=size, signer=SIGNER)
    with engine.connect() as connection:
        pages = [pager.page(connection)]
        while pages[-1].next_cursor is not None:
            pages.append(pager.page(connection, pages[-1].next_cursor))
            assert pages[-1].has_previous
        assert [row.id for page in pages for row in page] == expected
        assert all(len(page) == size for page in pages[:-1])
        assert not pages[0].has_previous
        for earlier, later in pairwise(pages):
            back = pager.page(connection, later.previous_cursor)
            assert back.items == earlier.items
            assert back.has_next
            assert back.has_previous == earlier.has_previous


def _check_changes(
    engine: Engine, records: Any, keys: Any, size: int, changes: list[tuple[bool, int]]
) -> None:
    """Between two pages a row is inserted or deleted, often the very row of the cursor."""
    rows = {row["id"]: row for row in _write(engine, records)}
    survivors = set(rows)
    pager = keyset(_ordered(keys), size=size, signer=SIGNER)
    seen: list[int] = []
    steps = iter(changes)
    with engine.connect() as connection:
        page = pager.page(connection)
        while True:
            seen += [row.id for row in page]
            if page.next_cursor is None:
                break
            deletes, number = next(steps, (False, -1))
            if deletes:
                gone = page.items[-1].id if number % 2 else number % (len(rows) + 1)
                connection.execute(ROWS.delete().where(ROWS.c.id == gone))
                survivors.discard(gone)
            elif number >= 0:
                new = {"a": None, "b": number % 4, "c": number % 3, "flag": bool(number % 2)}
                connection.execute(ROWS.insert(), {"id": 1000 + number, **new})
            connection.commit()
            page = pager.page(connection, page.next_cursor)
    assert len(seen) == len(set(seen))
    assert survivors <= set(seen)


SIZES = st.integers(1, 6)
CHANGES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 50)), max_size=12, unique_by=lambda one: one[1]
)


@given(records=RECORDS, keys=KEYS, size=SIZES)
@FEW
def test_pages_are_the_order_cut_in_pieces(
    engine: Engine, records: Any, keys: Any, size: int
) -> None:
    _check_pages(engine, records, keys, size)


@given(records=RECORDS, keys=KEYS, size=SIZES, changes=CHANGES)
@FEW
def test_changes_between_pages_lose_and_repeat_nothing(
    engine: Engine, records: Any, keys: Any, size: int, changes: Any
) -> None:
    _check_changes(engine, records, keys, size, changes)


@pytest.mark.exhaustive
@given(records=RECORDS, keys=KEYS, size=SIZES, changes=CHANGES)
@MANY
def test_both_hold_of_a_thousand_tables(
    engine: Engine, records: Any, keys: Any, size: int, changes: Any
) -> None:
    _check_pages(engine, records, keys, size)
    _check_changes(engine, records, keys, size, changes)
