"""``sa-perf retention partitions``: how partitions stand, and their upkeep."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert

MODELS = """
from datetime import datetime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sa_perf.retention.partitions import partitioned

class Base(DeclarativeBase):
    pass

@partitioned("at", every="1 month", ahead=1, days=90, default=False)
class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "partitioned_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import partitioned_models

    yield partitioned_models
    del sys.modules["partitioned_models"]


def _arguments(database: Any) -> tuple[str, ...]:
    url = database.url.render_as_string(hide_password=False)
    return ("retention", "partitions", "--app", "partitioned_models:Base", "--url", url)


def test_partitions_that_are_too_old_are_shown_and_then_dropped(
    run: Any, models: Any, postgresql_database: Any
) -> None:
    engine = create_engine(postgresql_database.url)
    models.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE event_2020_01 PARTITION OF event "
            "FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
        )
        connection.execute(insert(models.Event), {"id": 1, "at": datetime(2020, 1, 5)})
    engine.dispose()
    arguments = _arguments(postgresql_database)
    (table,) = json.loads(run(*arguments).stdout)["tables"]
    assert table["expired"] == ["event_2020_01"]
    done = json.loads(run("retention", "partitions", "--maintain", *arguments[2:]).stdout)
    assert [one["name"] for one in done["tables"][0]["dropped"]] == ["event_2020_01"]
    again = run(*arguments, "--no-json")
    assert (again.exit_code, "event_2020_01" in again.stdout) == (0, False)


def test_a_database_without_partitions_fails_the_command(
    run: Any, models: Any, sqlite_database: Any
) -> None:
    found = run(*_arguments(sqlite_database))
    assert found.exit_code == 1
    assert "event" in json.loads(found.stdout)["errors"]


def test_a_table_that_has_none_is_named_with_those_that_do(
    run: Any, models: Any, sqlite_database: Any
) -> None:
    found = run(*_arguments(sqlite_database), "nothing")
    assert (found.exit_code, "they are for: event" in found.stderr) == (2, True)
