"""What is known of a statement by its text."""

from __future__ import annotations

import pytest
from sqlalchemy.engine.default import DefaultDialect

from sa_perf.dialects import dialect_for
from sa_perf.queries.faults import Faults
from sa_perf.queries.fingerprint import Fingerprinter
from sa_perf.queries.orm_loads import Loads
from sa_perf.queries.recorder import Recorder
from sa_perf.queries.shape import Shape, Shapes
from sa_perf.queries.slow_log import SlowLog
from sa_perf.queries.statistics import Statistics
from sa_perf.settings import Settings


def shape_of(text: str) -> Shape:
    statistics = Statistics(10)
    fingerprinter = Fingerprinter(dialect_for(DefaultDialect()))
    recorder = Recorder(
        database="d",
        fingerprinter=fingerprinter,
        statistics=statistics,
        slow_log=SlowLog(1),
        settings=Settings(),
        faults=Faults(),
    )
    shapes = Shapes("d", fingerprinter, statistics, 1_000, loads=Loads())
    return shapes.raw_shape(recorder, text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM b",
        "select a\nfrom b",
        "/* one */ -- two\n SELECT a FROM b",
        "WITH x AS (SELECT 1) SELECT a FROM x",
    ],
)
def test_what_reads_tables_gives_the_same_rows_again(text: str) -> None:
    shape = shape_of(text)
    assert (shape.reads, shape.writes) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE a SET b = 1", "/* x */ DELETE FROM a", "insert into a values (1)",
        "CALL refresh()", "REPLACE INTO a VALUES (1)", "MERGE INTO a USING b ON true", "TRUNCATE a",
        "EXEC refresh", "DO $$ BEGIN END $$", "COPY a FROM STDIN", "DROP TABLE a",
        "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", "refresh materialized view a",
        "LOAD DATA INFILE 'a' INTO TABLE b",
    ],
)  # fmt: skip
def test_what_may_change_rows_ends_what_was_read(text: str) -> None:
    shape = shape_of(text)
    assert (shape.reads, shape.writes) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1", "SELECT nextval('fromage')", "SELECT a FROM b FOR UPDATE",
        "SELECT a FROM b FOR NO KEY UPDATE", "SELECT a FROM b FOR SHARE NOWAIT",
        "SELECT a FROM b FOR KEY SHARE", "SELECT a FROM b LOCK IN SHARE MODE",
        "SAVEPOINT x", "RELEASE SAVEPOINT x", "SET search_path = a", "PRAGMA table_info(a)",
        "(SELECT a FROM b)", "", "-- nothing", ";", "SHOW tables", "EXPLAIN SELECT a FROM b",
    ],
)  # fmt: skip
def test_what_does_neither_is_neither(text: str) -> None:
    shape = shape_of(text)
    assert (shape.reads, shape.writes) == (False, False)
