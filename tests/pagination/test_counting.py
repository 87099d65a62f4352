"""Counts of every kind of statement: exact, capped, by statistics; on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Engine,
    ForeignKey,
    MetaData,
    Select,
    String,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    mapped_column,
    relationship,
    scoped_session,
    selectinload,
    sessionmaker,
    with_loader_criteria,
)

import sa_perf
from sa_perf.errors import PaginationError
from sa_perf.pagination.counting import Capped, Count, count

WRITERS = 40
MANY = 12_000


class Base(DeclarativeBase):
    """The tests' own models."""


class Writer(Base):
    __tablename__ = "counted_writer"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(20))
    books: Mapped[list[Book]] = relationship(lazy="joined", order_by="Book.id")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "writer"}  # noqa: RUF012


class Poet(Writer):
    """In the same table."""

    __mapper_args__ = {"polymorphic_identity": "poet"}  # noqa: RUF012


class Book(Base):
    __tablename__ = "counted_book"
    id: Mapped[int] = mapped_column(primary_key=True)
    writer_id: Mapped[int] = mapped_column(ForeignKey("counted_writer.id"))
    title: Mapped[str] = mapped_column(String(20))


class Number(Base):
    __tablename__ = "counted_number"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenth: Mapped[int] = mapped_column(index=True)


class Tenth(Base):
    """The same table, by subclasses."""

    __table__ = Number.__table__
    __mapper_args__ = {"polymorphic_on": "tenth"}  # noqa: RUF012


class Third(Tenth):
    """Every tenth of its rows."""

    __mapper_args__ = {"polymorphic_identity": 3}  # noqa: RUF012


writers, books, numbers = Writer.__table__, Book.__table__, Number.__table__


@pytest.fixture(scope="module")
def engine(shared_db) -> Iterator[Engine]:
    """40 writers, every fourth a poet, each with 0 to 2 books; 12,000 numbers, analyzed."""
    engine = shared_db.engine()
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        kinds = ["poet", "writer", "writer", "writer"]
        connection.execute(
            insert(writers),
            [{"id": n, "kind": kinds[n % 4], "name": f"N{n % 7}"} for n in range(1, WRITERS + 1)],
        )
        rows = [{"writer_id": n, "title": f"T{k}"} for n in range(1, 41) for k in range(n % 3)]
        connection.execute(insert(books), rows)
        many = [{"id": n, "tenth": n % 10} for n in range(1, MANY + 1)]
        connection.execute(insert(numbers), many)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        word = "ANALYZE TABLE" if engine.name in ("mysql", "mariadb") else "ANALYZE"
        connection.execute(text(f"{word} counted_number")).close()
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def session(engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(connection, cursor, statement, *rest: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def exactly(source: Any, stmt: Any) -> int:
    found = count(source, stmt, "exact")
    assert found is not None
    assert found.kind == "exact"
    return found.value


other = aliased(Writer)
named = select(Writer.name.label("n"), func.count().label("c")).group_by(Writer.name)
STATEMENTS: dict[str, Select[Any]] = {
    "entities with joined loads": select(Writer).order_by(Writer.name),
    "entities with options": select(Writer).options(selectinload(Writer.books)),
    "with a condition": select(Writer).where(Writer.name == "N1"),
    "a subclass in one table": select(Poet),
    "an alias": select(other).where(other.id > 7).order_by(other.id),
    "attributes": select(Writer.id, Writer.name).where(Writer.id < 9),
    "a fan-out": select(Writer).join(Writer.books),
    "an outer join": select(Writer, Book).outerjoin(Book, Book.writer_id == Writer.id),
    "DISTINCT": select(Writer.name).distinct().order_by(Writer.name),
    "DISTINCT entities": select(Writer).join(Writer.books).distinct(),
    "GROUP BY": named,
    "GROUP BY and HAVING": named.having(func.count() > 5),
    "an aggregate": select(func.max(Writer.id)),
    "an aggregate beside nothing": select(func.count()).select_from(Writer),
    "a LIMIT": select(Writer).order_by(Writer.id).limit(7),
    "a LIMIT behind the end": select(Writer).order_by(Writer.id).limit(7).offset(38),
    "DISTINCT with a LIMIT": select(Writer.name).distinct().order_by(Writer.name).limit(3),
    "a label": select((Writer.id + 1).label("next")).order_by("next"),
    "a window": select(Book, func.row_number().over(order_by=Book.id).label("place")),
    "a subquery": select(named.subquery()),
    "a CTE": select(named.cte("named").c.n),
    "columns of the same name": select(writers.c.id, books.c.id).join(
        books, books.c.writer_id == writers.c.id
    ),
    "a table": select(writers).where(writers.c.name.in_(["N1", "N2"])),
    "a literal": select(literal_column("1").label("one")).select_from(writers),
    "EXISTS": select(Writer).where(Writer.books.any(Book.title == "T1")),
    "FOR UPDATE": select(Writer).with_for_update(of=Writer),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_an_exact_count_is_the_number_of_rows(engine, session, name) -> None:
    stmt = STATEMENTS[name]
    result = session.execute(stmt)
    wanted = len((result.unique() if result._unique_filter_state else result).all())
    if name == "a fan-out":  # unique() makes one of equal objects
        wanted = session.scalar(select(func.count()).select_from(Book))
    assert exactly(session, stmt) == wanted
    with engine.connect() as connection:
        assert exactly(connection, stmt) == wanted
        capped = count(connection, stmt, Capped(4))
        assert capped == (Count(4, "capped") if wanted > 4 else Count(wanted, "exact"))


def test_a_union_is_counted_with_its_own_rows(engine) -> None:
    some, more = select(writers.c.name).where(writers.c.id < 9), select(writers.c.name)
    with engine.connect() as connection:
        assert exactly(connection, union(some, more).order_by("name")) == 7
        assert exactly(connection, union_all(some, more)) == 48
        assert exactly(connection, union_all(some, more).limit(5)) == 5
        assert count(connection, union_all(some, more), Capped(47)) == Count(47, "capped")


def test_a_text_with_columns_is_counted(engine) -> None:
    stmt = text("SELECT id FROM counted_writer WHERE id < 9").columns(Writer.id)
    with engine.connect() as connection:
        assert exactly(connection, stmt) == 8
        assert count(connection, stmt, Capped(5)) == Count(5, "capped")


def test_one_narrow_statement_counts(engine, session) -> None:
    with statements(engine) as sent:
        exactly(session, select(Writer).order_by(Writer.name).with_for_update())
    (statement,) = sent
    for word in ("ORDER BY", "counted_book", "FOR UPDATE", "kind"):
        assert word not in statement


def test_a_capped_count_reads_one_row_more_than_its_limit(engine, session) -> None:
    with statements(engine) as sent:
        assert count(session, select(Writer), Capped(39)) == Count(39, "capped")
    assert "LIMIT" in sent[0]
    assert count(session, select(Writer), Capped(40)) == Count(40, "exact")
    assert count(session, select(Number), "capped") == Count(10_000, "capped")


def test_nothing_is_counted_for_none(engine, session) -> None:
    with statements(engine) as sent:
        assert count(session, select(Writer), "none") is None
    assert sent == []


@pytest.mark.parametrize("how", ["all", 7, None, Capped(0), Capped(True)])
def test_another_way_to_count_is_refused(engine, session, how) -> None:
    with pytest.raises(PaginationError, match=r"'estimated' or Capped|a limit is a whole number"):
        count(session, select(Writer), how)


def test_pending_objects_are_counted(engine) -> None:
    with Session(engine) as session:
        session.add(Number(id=MANY + 1, tenth=0))
        assert exactly(session, select(Number).where(Number.id > MANY)) == 1
        session.rollback()
        session.add(Number(id=MANY + 1, tenth=0))
        with session.no_autoflush:
            assert exactly(session, select(Number).where(Number.id > MANY)) == 0


def test_a_scoped_session_counts(engine) -> None:
    scoped = scoped_session(sessionmaker(engine))
    assert exactly(scoped, select(Writer)) == WRITERS
    assert count(scoped, select(Number).where(Number.tenth == 3), "estimated") is not None
    scoped.remove()


def test_criteria_of_the_statement_hold_for_its_count(engine, session) -> None:
    stmt = select(Writer).options(with_loader_criteria(Writer, Writer.name == "N1"))
    wanted = len(session.scalars(stmt).unique().all())
    assert 0 < wanted < WRITERS
    assert exactly(session, stmt) == wanted
    with engine.connect() as connection:
        assert exactly(connection, stmt) == wanted
    estimate = count(session, stmt, "estimated")
    assert estimate is not None
    assert estimate.value < WRITERS / 2


def test_criteria_that_a_listener_adds_hold_for_the_count(engine) -> None:
    maker = sessionmaker(engine)

    @event.listens_for(maker, "do_orm_execute")
    def restrict(state) -> None:
        if state.is_select:
            only = with_loader_criteria(Number, Number.tenth == 3)
            state.statement = state.statement.options(only)

    with maker() as session:
        assert exactly(session, select(Number)) == MANY / 10
        estimate = count(session, select(Number), "estimated")
    assert estimate is not None
    assert estimate.value == pytest.approx(MANY / 10, rel=0.5)


def test_a_session_of_several_engines_counts_on_the_right_one(engine) -> None:
    class Routing(Session):
        def get_bind(self, mapper=None, **rest: Any) -> Engine:
            assert mapper is not None
            return engine

    with Routing() as session:
        assert exactly(session, select(Number)) == MANY
        assert count(session, select(Number), "estimated") is not None


def test_execution_options_of_the_statement_hold_for_its_count(engine) -> None:
    elsewhere = numbers.to_metadata(MetaData(), schema="elsewhere")
    stmt = select(elsewhere).execution_options(schema_translate_map={"elsewhere": None})
    with engine.connect() as connection:
        assert exactly(connection, stmt) == MANY
        assert estimated(connection, stmt) == pytest.approx(MANY, rel=0.2)


def test_rows_that_tie_with_the_last_one_are_counted(postgresql_database) -> None:
    engine = postgresql_database.engine()
    numbers.create(engine)
    with engine.begin() as connection:
        rows = [{"id": n, "tenth": n % 10} for n in range(1, 101)]
        connection.execute(insert(numbers), rows)
        stmt = select(numbers.c.id).order_by(numbers.c.tenth).fetch(3, with_ties=True)
        assert exactly(connection, stmt) == 10


# Estimates


def estimated(source: Any, stmt: Any) -> int:
    found = count(source, stmt, "estimated")
    assert found is not None
    assert found.kind == "estimated"
    return found.value


def test_a_whole_table_is_estimated_from_statistics(engine, session) -> None:
    reads = "counted_number" if engine.name != "sqlite" else "sqlite_stat1"
    for stmt in (select(Number).order_by(Number.id), select(numbers), select(Number.id)):
        with statements(engine) as sent:
            assert estimated(session, stmt) == pytest.approx(MANY, rel=0.2)
        assert any(reads in one for one in sent)
        assert not any("count(" in one for one in sent)


def test_a_condition_is_estimated_by_the_planner_or_else_counted(engine, session) -> None:
    stmt = select(Number).where(Number.tenth == 3)
    if engine.name == "sqlite":  # whose planner gives no row counts
        assert count(session, stmt, "estimated") == Count(MANY // 10, "exact")
        wide = select(Number).where(Number.tenth != 3)
        assert count(session, wide, "estimated") == Count(10_000, "capped")
        return
    assert estimated(session, stmt) == pytest.approx(MANY / 10, rel=0.5)
    with engine.connect() as connection:
        assert estimated(connection, stmt) == pytest.approx(MANY / 10, rel=0.5)
    joined = stmt.join(Writer, Writer.id == Number.id)
    found = count(session, joined, "estimated")
    assert found is not None
    assert found.value < MANY / 10


def test_a_subclass_is_not_taken_for_its_whole_table(engine, session) -> None:
    found = count(session, select(Third), "estimated")
    assert found is not None
    assert found.value == pytest.approx(MANY / 10, rel=0.5)


def test_an_impossible_condition_is_no_fault_of_an_estimate(engine, session) -> None:
    found = count(session, select(Number).where(Number.id < 0, Number.id > 5), "estimated")
    assert found is not None
    assert found.value <= 1


def test_a_small_table_is_counted_instead_of_estimated(engine, session) -> None:
    assert count(session, select(Writer), "estimated") == Count(WRITERS, "exact")


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_can_be_estimated(session, name) -> None:
    found = count(session, STATEMENTS[name], "estimated")
    assert found is not None
    assert found.kind in ("exact", "estimated")
    assert 0 <= found.value <= 10_000


def test_groups_are_not_taken_for_rows(engine, session) -> None:
    stmt = select(Number.tenth).group_by(Number.tenth)
    found = count(session, stmt, "estimated")
    assert found is not None
    assert found.value == 10


def test_a_table_of_which_no_statistics_exist_is_counted(db) -> None:
    engine = db.engine()
    numbers.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(numbers), [{"id": n, "tenth": 0} for n in range(1, 31)])
        assert count(connection, select(numbers), "estimated") == Count(30, "exact")


def test_a_failing_estimate_leaves_the_transaction_as_it_was(engine, monkeypatch) -> None:
    from sa_perf.dialects import row_estimates

    for name in ("postgresql", "mysql", "mariadb"):
        monkeypatch.setitem(row_estimates._WORDS, name, "EXPLAIN nonsense (")
    with Session(engine) as session:
        session.add(Number(id=MANY + 1, tenth=1))
        stmt = select(Number).where(Number.id > MANY)
        assert count(session, stmt, "estimated") == Count(1, "exact")
        assert session.get(Number, MANY + 1) is not None
        session.rollback()


def test_an_estimate_works_in_autocommit_mode(engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert estimated(connection, select(numbers)) == pytest.approx(MANY, rel=0.2)


def test_the_recorder_sees_counts_but_no_questions_about_statistics(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    try:
        with Session(engine) as session:
            count(session, select(Number), "estimated")
            count(session, select(Number), "exact")
        seen = [query.statement for query in perf.snapshot().queries]
    finally:
        perf.uninstall()
    assert [one for one in seen if "count(" in one] != []
    assert [one for one in seen if "EXPLAIN" in one or "sqlite_stat1" in one] == []


# Words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Count(0), "0"),
        (Count(1234), "1,234"),
        (Count(10_000, "capped"), "10,000+"),
        (Count(1_234_567, "estimated"), "about 1,200,000"),
        (Count(999, "estimated"), "about 1,000"),
        (Count(7, "estimated"), "about 7"),
    ],
)
def test_a_count_says_what_it_is_worth(found, words) -> None:
    assert str(found) == words
    assert found.to_dict() == {"value": found.value, "kind": found.kind, "text": words}


def test_a_mariadb_plan_with_a_semijoin_is_no_estimate() -> None:
    from sa_perf.dialects.plan import PlanNode
    from sa_perf.dialects.row_estimates import _leaving

    one = PlanNode(operation="full_scan", label="t", relation="t", estimated_rows=5.0)
    two = PlanNode(
        operation="index_scan", label="u", relation="u", estimated_rows=3.0,
        detail={"first_match": "t"},
    )  # fmt: skip
    joined = PlanNode(operation="nested_loop", label="join", children=(one, one))
    assert _leaving(joined) == 25.0
    matched = PlanNode(operation="nested_loop", label="join", children=(one, two))
    assert _leaving(matched) is None


def test_a_connection_is_what_it_takes(engine) -> None:
    with engine.connect() as connection:
        assert isinstance(connection, Connection)
        assert exactly(connection, select(Writer.id)) == WRITERS
