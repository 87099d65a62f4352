"""sa_perf's own tables as an application makes them, checked by mypy and pyright; never run."""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, MetaData
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import assert_type

from sa_perf import migration
from sa_perf.errors import MigrationError, MissingTables, SaPerfError


def make(engine: Engine, connection: Connection, url: URL) -> None:
    migration.upgrade(engine)
    migration.upgrade(connection, "head")
    migration.upgrade("sqlite://")
    assert_type(migration.upgrade(url, sql=True), str)
    migration.downgrade(engine, "base")
    assert_type(migration.current(engine), "str | None")
    assert_type(migration.check(url), "tuple[str, ...]")


def give_to_the_application(engine: Engine, target_metadata: MetaData) -> None:
    migration.configure(target_metadata)
    migration.configure(target_metadata, advice="advice.json")
    migration.release(engine)


def leave_alone(metadata: MetaData) -> None:
    included = migration.include_name(metadata)
    assert_type(included("event", "table", {"schema_name": None}), bool)


async def make_async(connection: AsyncConnection) -> None:
    await connection.run_sync(migration.upgrade)
    assert_type(await connection.run_sync(migration.check), "tuple[str, ...]")


def refuse(engine: Engine) -> SaPerfError | None:
    try:
        migration.require(engine)
    except (MissingTables, MigrationError) as error:
        return error
    return None
