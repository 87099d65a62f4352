"""Old flights go to the archive, and could come back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, insert, select

from sa_perf.demo.data import fill
from sa_perf.demo.models import Alert, Base, Flight
from sa_perf.demo.retention import purge
from sa_perf.retention import FileArchive, restore
from sa_perf.retention.policy import declared_in

DAYS = 8  # those of 1 January are old


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'flights.db'}")
    fill(made, days=DAYS)
    with made.begin() as connection:
        alerts = [{"flight_id": flight, "address": "a@example.org"} for flight in (1, 5_000)]
        connection.execute(insert(Alert), alerts)
    yield made
    made.dispose()


def rows(engine: Engine, model: type) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(model)) or 0


def test_old_flights_and_their_alerts_stand_in_the_archive(engine: Engine, tmp_path: Path) -> None:
    before = rows(engine, Flight)
    begun: list[int] = []
    seen: list[int] = []

    done = purge(engine, tmp_path, days=DAYS, begin=begun.append, progress=seen.append)

    assert done is not None
    assert done.plan.error is None
    assert done.plan.warnings == ()
    assert (done.run.outcome, done.audit.outcome, done.audit.actor) == ("done", "done", "demo")
    assert rows(engine, Flight) == before - done.run.rows_changed
    assert rows(engine, Alert) == done.run.children_changed == 1
    assert begun == [done.run.rows_changed]
    assert seen[-1] == done.run.rows_changed
    files = list((tmp_path / "archive").rglob("*-flights.jsonl.gz"))
    lines = [line for one in files for line in gzip.decompress(one.read_bytes()).splitlines()]
    assert len(lines) == done.run.rows_changed
    assert all(json.loads(line)["scheduled_departure"] < "2013-01-02" for line in lines)


def test_flights_come_back_from_the_archive(engine: Engine, tmp_path: Path) -> None:
    before = rows(engine, Flight)
    done = purge(engine, tmp_path, days=DAYS)
    assert done is not None

    restore(
        engine,
        archive=FileArchive(tmp_path / "archive"),
        metadata=Base.metadata,
        run=done.audit.run,
    )

    assert (rows(engine, Flight), rows(engine, Alert)) == (before, 2)


def test_the_models_themselves_have_no_policy(engine: Engine, tmp_path: Path) -> None:
    assert purge(engine, tmp_path, days=DAYS) is not None
    assert declared_in(Base) == []


@pytest.mark.parametrize("days", [1, 4])
def test_nothing_is_old_where_there_are_few_days(engine: Engine, tmp_path: Path, days: int) -> None:
    before = rows(engine, Flight)
    assert purge(engine, tmp_path, days=days) is None
    assert rows(engine, Flight) == before
    assert not (tmp_path / "archive").exists()


def test_space_may_be_refused(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sa_perf.demo import retention
    from sa_perf.errors import SpaceRefused

    def refuse(engine: Engine) -> None:
        raise SpaceRefused("the disk has no room")

    monkeypatch.setattr(retention, "reclaim", refuse)
    done = purge(engine, tmp_path, days=DAYS)
    assert done is not None
    assert (done.space, done.refusal) == (None, "the disk has no room")
