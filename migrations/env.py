"""Alembic environment for sa_perf's own tables.

They live in the application's database, so the version table has a name of its own and
autogenerate looks at no other table.
"""

from __future__ import annotations

import asyncio
import logging
from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, Connection, MetaData, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

VERSION_TABLE = "sa_perf_alembic_version"
# sa_perf keeps nothing in a database yet; the first room that does gives its tables here.
target_metadata = MetaData()

log = logging.getLogger("alembic.sa_perf")


def database_url() -> URL:
    """Read where to migrate from ``-x url=...``, else from ``sqlalchemy.url`` of the ini file."""
    given = context.get_x_argument(as_dictionary=True).get("url")
    given = given or context.config.get_main_option("sqlalchemy.url")
    if not given:
        raise CommandError("no database is named; run: alembic -x url=DATABASE_URL ...")
    try:
        return make_url(given)
    except ArgumentError:
        # The text may hold a password: it is not repeated.
        raise CommandError(
            "the database URL cannot be read; it is dialect://user@host/name"
        ) from None


def is_ours(item: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Tell whether autogenerate may look at a table: only at those of ours."""
    return kind != "table" or name in target_metadata.tables


def migrate(connection: Connection) -> None:
    """Run the migrations that were asked for on an open connection."""
    configure(connection=connection)
    if not context.script.get_heads():
        log.info("sa_perf has no tables yet: nothing to do")
    with context.begin_transaction():
        context.run_migrations()


def configure(**options: object) -> None:
    """Configure Alembic alike for a connection and for a script."""
    context.configure(
        target_metadata=target_metadata,
        version_table=VERSION_TABLE,
        include_object=is_ours,
        compare_type=True,
        render_as_batch=True,
        **options,
    )


def run_online(url: URL) -> None:
    """Connect and migrate; an asynchronous driver is run on an event loop of its own."""
    if url.get_dialect().is_async:
        from sqlalchemy.ext.asyncio import create_async_engine

        async def run() -> None:
            async with create_async_engine(url, poolclass=NullPool).connect() as connection:
                await connection.run_sync(migrate)

        asyncio.run(run())
    else:
        with create_engine(url, poolclass=NullPool).connect() as connection:
            migrate(connection)


if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
if context.is_offline_mode():
    configure(url=database_url(), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    run_online(database_url())
