"""A table of every type, and an archive that is filled as a run fills it."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Engine,
    Enum,
    Float,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    delete,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql

from sa_perf.dialects.purging import purging_of
from sa_perf.retention.archive import ArchiveFile, FileSink
from sa_perf.retention.archive.audited import Audited
from sa_perf.retention.tables import batches, leases, runs
from sa_perf.tables import metadata as own_metadata

UTC = timezone.utc
TEXTS = [
    "",
    " ",
    "NULL",
    "\\N",
    'a "quoted" word, a comma',
    '"',
    '""',
    "two\nlines\r\nand a tab\t",
    "\x01\x1f\x7f\u2028\u00e4\U0001f600",
    "true",
    "1.0",
    "\\x00ff",
    "'; DROP TABLE x; --",
    "{}",
]


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str


class MoneyType(TypeDecorator[Money]):
    """A value object in a text; reading it again does not give the same text."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: Money | None, dialect: Any) -> str | None:
        return None if value is None else f"{value.amount} {value.currency.lower()}"

    def process_result_value(self, value: str | None, dialect: Any) -> Money | None:
        if value is None:
            return None
        amount, currency = value.split()
        return Money(Decimal(amount), currency.upper())


def every_type(metadata: MetaData, backend: str) -> Table:
    """A table with a column of each type that the database has."""
    fraction = mysql.DATETIME(fsp=6)
    precise = DateTime().with_variant(fraction, "mysql", "mariadb")
    columns: list[Column[Any]] = [
        Column("id", Integer, primary_key=True),
        Column("big", BigInteger),
        Column("exact", Numeric(30, 10)),
        Column("single", Float),
        Column("double", Double),
        Column("short_text", String(200)),
        Column("long_text", Text),
        Column("data", LargeBinary),
        Column("flag", Boolean),
        Column("day", Date),
        Column("clock", Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb")),
        Column("naive", precise),
        Column("aware", DateTime(timezone=True).with_variant(fraction, "mysql", "mariadb")),
        Column("span", Interval),
        Column("uid", Uuid),
        Column("colour", Enum(Colour)),
        Column("document", JSON),
        Column("money", MoneyType),
        Column("pickled", PickleType),
        Column("order", String(10), key="ordering"),
    ]
    if backend == "postgresql":
        columns += [
            Column("numbers", ARRAY(Integer)),
            Column("words", ARRAY(Text, dimensions=2)),
            Column("binary_document", postgresql.JSONB),
            Column("network", postgresql.INET),
            Column("period", postgresql.TSTZRANGE),
            Column("bits", postgresql.BIT(3)),
            Column("dates", postgresql.DATERANGE),
        ]
    if backend in ("mysql", "mariadb"):
        columns += [
            Column("stamp", mysql.TIMESTAMP(fsp=6), nullable=True),
            Column("bits", mysql.BIT(10)),
            Column("unsigned", mysql.BIGINT(unsigned=True)),
            Column("year", mysql.YEAR),
            Column("members", mysql.SET("a", "b", "c")),
        ]
    return Table("every type", metadata, *columns)


def ordinary_rows(backend: str) -> list[dict[str, Any]]:
    """Rows that the types themselves take, and rows of NULL."""
    rows: list[dict[str, Any]] = []
    for number, words in enumerate(TEXTS, start=1):
        moment = datetime(2024, 3, 31, 2, 30, 0, number)
        row: dict[str, Any] = {
            "id": number,
            "big": (-1) ** number * (2**63 - number),
            "exact": Decimal("-12345678901234567890.0123456789") + number,
            "single": 0.1 * number,
            "double": 1e308 / 3 / number,
            "short_text": words,
            "long_text": words * 100,
            "data": bytes(range(256)) * (number % 3),
            "flag": number % 2 == 0,
            "day": date(1, 1, 1) if number == 1 else date(9999, 12, 31),
            "clock": time(23, 59, 59, 999999 - number),
            "naive": moment,
            "aware": moment.replace(tzinfo=timezone(timedelta(hours=number % 5))),
            "span": timedelta(days=number, microseconds=1),
            "uid": uuid.UUID(int=2**128 - number),
            "colour": Colour.RED if number % 2 else Colour.BLUE,
            "document": {"a": [1, 1.5, None, words], "b": True},
            "money": Money(Decimal("1.50") * number, "EUR"),
            "pickled": {"set": {1, 2}},
            "ordering": "x",
        }
        if backend == "mariadb":
            row["day"] = date(1000, 1, 1)
        if backend == "postgresql":
            row |= {
                "numbers": [1, None, number],
                "words": [[words, 'x"y'], ["", "NULL"]],
                "binary_document": {"z": 1, "a": words},
                "network": "10.0.0.0/8",
            }
        if backend == "mariadb":
            row |= {
                "stamp": datetime(2024, 6, 1, 12, 0, 0, number),
                "bits": number,
                "unsigned": 2**64 - number,
                "year": 2024,
                "members": {"a", "c"},
            }
        rows.append(row)
    empty = {name: None for name in rows[0]}
    rows.append({**empty, "id": 100, "document": null()})
    rows.append({**empty, "id": 101, "document": JSON.NULL})
    return rows


#: Values that a driver or a type could not bring: written as SQL.
ODD_SQL = {
    "sqlite": [
        """INSERT INTO "every type" (id, big, exact, double, short_text, day, naive)
           VALUES (200, 'no number', 9e999, -9e999, x'00ff', 'yesterday', 12.5)""",
        """INSERT INTO "every type" (id, big, exact, double, short_text, document)
           VALUES (201, 1.5, 'text', -0.0, 17, '{"a":1,  "a":1e400}')""",
    ],
    "postgresql": [
        """INSERT INTO "every type"
             (id, exact, single, double, day, naive, aware, span, document, period, bits, dates)
           VALUES (200, 'NaN', 'NaN', '-Infinity', 'infinity', '-infinity', 'infinity',
                   '1 year 2 mons -3 days 04:05:06.000007', '{"a":1,  "a":1e400}',
                   '[2024-01-01 00:00+02,)', B'101', 'empty')""",
        """INSERT INTO "every type" (id, double, day, naive, aware, span)
           VALUES (201, 1e-300, '0044-03-15 BC', '294276-12-31 23:59:59.999999',
                   '4713-01-01 00:00:00+00 BC', '-178000000 years')""",
    ],
    "mariadb": [
        """INSERT INTO `every type` (id, single, `double`, clock, document)
           VALUES (200, 16777216.0, -0.0, '-838:59:59.999999', '{"a":1,  "a":1e400}')""",
        """INSERT INTO `every type` (id, single, `double`, clock)
           VALUES (201, 1.17549435e-38, 5e-324, '00:00:00')""",
    ],
}


def stored_rows(engine: Engine, table: Table) -> list[str]:
    """Rows as the database itself shows them, by SQL that the code under test does not use."""
    name = engine.dialect.identifier_preparer.format_table(table)
    quote = engine.dialect.identifier_preparer.quote
    names = [quote(one.name) for one in table.columns]
    if engine.dialect.name == "postgresql":
        shown = [f"CAST({one} AS text)" for one in names]
    elif engine.dialect.name == "sqlite":
        shown = [f"typeof({one}) || quote({one})" for one in names]
    else:
        shown = [f"HEX({one})" for one in names] + names
        shown += [f"{quote(c.name)} * 1e0" for c in table.columns if isinstance(c.type, Float)]
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT {', '.join(shown)} FROM {name} ORDER BY id")
        return [repr(tuple(row)) for row in rows]


class Run:
    """Archives and deletes as a run does: copy, delete, audit in one transaction."""

    def __init__(self, engine: Engine, table: Table, archive: Any, *, run: str = "run-1") -> None:
        self.engine = engine
        self.table = table
        self.archive = archive
        self.run = run
        self.policy = table.fullname
        self.number = 0
        self.sink: Any = None

    def reconcile(self, *, policy: str | None = None, keep: Any = lambda: None) -> None:
        """What a run does before its first batch."""
        purging = purging_of(self.engine)
        with purging.connection(self.engine) as connection:
            self.sink.reconcile(Audited(connection, purging, policy or self.policy, keep))

    def end(self) -> Run:
        """Close the audit's rows of this run."""
        with self.engine.begin() as connection:
            connection.execute(update(runs).where(runs.c.run == self.run).values(outcome="done"))
        return self

    def open(self, *, children: tuple[Table, ...] = ()) -> Run:
        own_metadata.create_all(self.engine, tables=[runs, batches, leases])
        self.sink = self.archive.open(
            self.engine, self.table, policy=self.policy, run=self.run, children=children
        )
        if isinstance(self.sink, FileSink):
            self.reconcile()
        now = datetime.now(UTC)
        with self.engine.begin() as connection:
            self.run_id = connection.execute(
                insert(runs).values(
                    run=self.run, policy=self.policy, table_name=self.table.fullname,
                    action="archive", cutoff=now, predicate="", started_at=now, outcome="running",
                    host="", pid=1, archive=str(self.archive),
                )
            ).inserted_primary_key[0]  # fmt: skip
        return self

    def batch(self, *criteria: Any, table: Table | None = None) -> ArchiveFile | int:
        """One batch; returns what the sink returned."""
        table = self.table if table is None else table
        self.number += 1
        file: ArchiveFile | None = None
        with self.engine.begin() as connection:
            if isinstance(self.sink, FileSink):
                file = self.write(connection, table, *criteria)
                archived = file.rows
                removed = connection.execute(delete(table).where(*criteria)).rowcount
                assert removed == archived
            else:
                archived = self.sink.move(connection, table, criteria, number=self.number)
            self.audit(connection, table, archived, file)
        if file is None:
            self.sink.committed()
            return archived
        self.sink.committed(file)
        return file

    def write(self, connection: Any, table: Table, *criteria: Any) -> ArchiveFile:
        reading = select(*self.sink.columns(table)).where(*criteria)
        rows = connection.execute(reading.with_for_update(of=table))
        name = self.sink.file_name(self.number, table)
        return self.sink.write(table, self.sink.columns(table), rows, name)

    def audit(self, connection: Any, table: Table, archived: int, file: Any) -> None:
        connection.execute(
            insert(batches).values(
                run_id=self.run_id, number=self.number, table_name=table.fullname,
                rows_scanned=archived, rows_archived=archived, rows_changed=archived,
                target_rows=archived, seconds=0.0, pause_seconds=0.0,
                archive_file=file.name if file else None,
                archive_sha256=file.sha256 if file else None,
                finished_at=datetime.now(UTC),
            )
        )  # fmt: skip

    def close(self) -> None:
        self.sink.close()


@pytest.fixture
def plain() -> Table:
    """A table of numbered texts."""
    return Table("note", MetaData(), Column("id", Integer, primary_key=True), Column("words", Text))


@pytest.fixture
def family() -> tuple[Table, Table]:
    """A table that refers to itself, and one that refers to it."""
    metadata = MetaData()
    parent = Table(
        "node",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("above", ForeignKey("node.id")),
    )
    child = Table(
        "leaf",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("node_id", ForeignKey(parent.c.id), nullable=False),
    )
    return parent, child


def fill(engine: Engine, table: Table, *, rows: int = 10) -> None:
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(table), [{"id": n, "words": f"text {n}"} for n in range(1, rows + 1)]
        )


@pytest.fixture
def archiving() -> SimpleNamespace:
    """What tests of archives share."""
    return SimpleNamespace(
        Run=Run,
        every_type=every_type,
        fill=fill,
        fill_every_type=fill_every_type,
        ordinary_rows=ordinary_rows,
        stored_rows=stored_rows,
    )


def fill_every_type(engine: Engine) -> Table:
    """Make the table of every type with its ordinary and its odd rows."""
    backend = "mariadb" if engine.dialect.name in ("mysql", "mariadb") else engine.dialect.name
    table = every_type(MetaData(), backend)
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        for row in ordinary_rows(backend):
            connection.execute(insert(table), row)
        for statement in ODD_SQL[backend]:
            connection.execute(text(statement.replace(":", "\\:")))
    return table


@pytest.fixture
def closing() -> Iterator[Any]:
    """Enters context managers that are left after the test."""
    with ExitStack() as stack:
        yield stack.enter_context
