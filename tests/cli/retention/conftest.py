"""An application with policies, its database, and sa-perf run on both."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, insert, text

from sa_perf import tables as own
from sa_perf.retention import tables as retention_tables

_numbers = itertools.count(1)
MODELS = """
from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Integer, MetaData, Table

from sa_perf.retention import BatchLimits, FileArchive, RetentionPolicy, declare

metadata = MetaData()
alert = Table(
    "alert",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False, index=True),
    Column("resolved", Boolean, nullable=False),
)
note = Table(
    "note",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alert_id", ForeignKey("alert.id"), nullable=False, index=True),
)
entry = Table(
    "entry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime, nullable=False, index=True),
)
declare(
    alert,
    RetentionPolicy(
        days=30,
        by="at",
        where=lambda columns: columns.resolved.is_(True),
        action="archive",
        archive=FileArchive({archive!r}),
        on_children="delete_first",
    ),
)
tens = BatchLimits(first_rows=10, min_rows=1, max_rows=10)
declare(entry, RetentionPolicy(days=30, by="at", batch=tens))
"""


@dataclass(kw_only=True)
class Application:
    """An application: alerts with notes, and entries; every second row is 60 days old.

    Attributes:
        app: what ``--app`` names.
        url: of its database.
        engine: of it.
        archive: folder of archived alerts.
        invoke: runs ``sa-perf``.
    """

    app: str
    url: str
    engine: Engine
    archive: Path
    invoke: Callable[..., Result]

    def run(self, command: str, *arguments: str, **options: Any) -> Result:
        """``sa-perf retention`` on it; the command takes --app where it has it."""
        named = ("plan", "run", "hold", "restore")
        app = ("--app", self.app) if command in named else ()
        return self.invoke("retention", command, "--url", self.url, *app, *arguments, **options)

    def count(self, table: str) -> int:
        """Rows of a table."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def add_own_tables(engine: Engine) -> None:
    """Make sa_perf's tables as the migrations would, which take longer."""
    version = Table(own.VERSION_TABLE, MetaData(), Column("version_num", String(32)))
    with engine.begin() as connection:
        own.metadata.create_all(connection, tables=retention_tables.TABLES)
        version.create(connection)
        connection.execute(insert(version).values(version_num=own.SCHEMA_VERSION))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module and give its name; it is forgotten afterwards."""
    made: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        name = f"sa_perf_test_models_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def app(models) -> str:
    """What ``--app`` names, without a database."""
    return f"{models(MODELS.format(archive='archive'))}:metadata"


@pytest.fixture
def shop(run, models, sqlite_url: str, tmp_path: Path) -> Iterator[Application]:
    """The application with twenty alerts of a note each, and a hundred entries."""
    archive = tmp_path / "archive"
    name = models(MODELS.format(archive=str(archive)))
    engine = create_engine(sqlite_url)
    add_own_tables(engine)
    metadata: MetaData = __import__(name).metadata
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    ages = [60 if number % 2 else 1 for number in range(1, 101)]
    rows = [{"id": n, "at": now - timedelta(days=age)} for n, age in enumerate(ages, 1)]
    with engine.begin() as connection:
        metadata.create_all(connection)
        alerts = [{**row, "resolved": row["id"] != 1} for row in rows[:20]]
        connection.execute(insert(metadata.tables["alert"]), alerts)
        notes = [{"id": row["id"], "alert_id": row["id"]} for row in alerts]
        connection.execute(insert(metadata.tables["note"]), notes)
        connection.execute(insert(metadata.tables["entry"]), rows)
    yield Application(
        app=f"{name}:metadata", url=sqlite_url, engine=engine, archive=archive, invoke=run
    )
    engine.dispose()
