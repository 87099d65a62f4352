"""What a run deletes stands in the archive, once, and comes back as it was."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Uuid,
    insert,
    select,
)

from sa_perf.retention.archive import FileArchive, TableArchive, restore
from sa_perf.retention.audit import batches_of, history
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
SMALL = BatchLimits(first_rows=7, min_rows=1)
Archive = FileArchive | TableArchive
ARCHIVES: dict[str, Callable[[Path], Archive]] = {
    "files": lambda folder: FileArchive(folder / "archive"),
    "plain csv": lambda folder: FileArchive(folder / "archive", format="csv", compression=None),
    "table": lambda folder: TableArchive(),
    "table elsewhere": lambda folder: TableArchive(url=f"sqlite:///{folder / 'archive.db'}"),
}


class Shop:
    """Orders and their lines."""

    def __init__(self, archive: Archive) -> None:
        self.metadata = MetaData()
        self.orders = Table(
            "shop_order",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("at", DateTime, nullable=False, index=True),
            Column("total", Numeric(12, 2)),
            Column("note", String(40)),
            Column("token", Uuid),
            Column("seal", LargeBinary),
            Column("extra", JSON),
        )
        self.lines = Table(
            "shop_line",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("order_id", ForeignKey("shop_order.id"), nullable=False, index=True),
            Column("what", String(20)),
        )
        policy = RetentionPolicy(
            days=30,
            by="at",
            action="archive",
            archive=archive,
            on_children="delete_first",
            batch=SMALL,
        )
        declare(self.orders, policy)

    def fill(self, engine: Engine) -> None:
        """Sixty orders, one a day, each second one with two lines."""
        orders = [
            {
                "id": at,
                "at": (NOW - timedelta(days=61 - at, microseconds=-at)).replace(tzinfo=None),
                "total": Decimal(at) / 4,
                "note": None if at % 3 else f'"{at}",\r\n\té',
                "token": uuid.UUID(int=at),
                "seal": bytes([at, 0, 255]),
                "extra": {"at": [at, None]},
            }
            for at in range(1, 61)
        ]
        lines = [
            {"id": order * 2 + at, "order_id": order, "what": f"line {at}"}
            for order in range(2, 61, 2)
            for at in range(2)
        ]
        with engine.begin() as connection:
            self.metadata.create_all(connection)
            connection.execute(insert(self.orders), orders)
            connection.execute(insert(self.lines), lines)

    def rows(self, engine: Engine) -> list[list[Any]]:
        """All rows of both tables."""
        with engine.connect() as connection:
            return [
                [tuple(row) for row in connection.execute(select(one).order_by(one.c.id))]
                for one in (self.orders, self.lines)
            ]


@pytest.fixture(params=ARCHIVES)
def shop(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine) -> Shop:
    made = Shop(ARCHIVES[request.param](tmp_path))
    made.fill(engine)
    return made


def _archive(shop: Shop) -> Any:
    from sa_perf.retention.policy import declared_in

    return declared_in(shop.metadata)[0].policy.archive


def test_archived_rows_come_back_as_they_were(engine: Engine, shop: Shop) -> None:
    before = shop.rows(engine)
    result = run(engine, shop.metadata, at=NOW)
    (policy,) = result.policies
    assert (policy.outcome, policy.reason) == ("done", None)
    assert (policy.rows_changed, policy.children_changed, policy.rows_archived) == (30, 30, 60)
    left = shop.rows(engine)
    assert [len(rows) for rows in left] == [30, 30]
    assert left[0] == before[0][30:]
    restored = restore(engine, archive=_archive(shop), metadata=shop.metadata, run=result.id)
    assert restored.rows == 60
    assert shop.rows(engine) == before


def test_a_batch_that_fails_leaves_its_rows_and_archives_them_once(
    engine: Engine, shop: Shop
) -> None:
    before = shop.rows(engine)

    class Interrupted(Exception):
        pass

    def interrupt(policy: str, number: int) -> None:
        if number == 3:
            raise Interrupted

    first = run(engine, shop.metadata, at=NOW, hooks=Hooks(before_batch=interrupt))
    assert first.policies[0].outcome == "failed"
    assert 0 < first.policies[0].rows_changed < 30
    second = run(engine, shop.metadata, at=NOW)
    assert second.policies[0].outcome == "done"
    assert [len(rows) for rows in shop.rows(engine)] == [30, 30]
    for one in (second, first):
        restore(engine, archive=_archive(shop), metadata=shop.metadata, run=one.id)
    assert shop.rows(engine) == before


def test_the_audit_names_each_file_with_its_sum(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(FileArchive(tmp_path))
    shop.fill(engine)
    result = run(engine, shop.metadata, at=NOW)
    (record,) = history(engine)
    files = [one for one in batches_of(engine, record.id) if one.archive_file is not None]
    assert record.archive == f"{tmp_path} (jsonl, gzip)"
    assert record.rows_archived == sum(one.rows_archived for one in files) == 60
    assert record.archive_bytes == result.policies[0].archive_bytes
    found = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.jsonl.gz")}
    assert found == {one.archive_file for one in files}


def test_nothing_is_deleted_where_the_archive_cannot_be_written(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    shop = Shop(FileArchive(tmp_path / "a file" / "folder"))
    shop.fill(engine)
    before = shop.rows(engine)
    (policy,) = run(engine, shop.metadata, at=NOW).policies
    assert policy.outcome == "failed"
    assert shop.rows(engine) == before
