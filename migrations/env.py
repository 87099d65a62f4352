"""Alembic environment for sa_perf's own tables.

Run by `sa_perf.migration`, which hands over a connection or a URL, and by ``alembic`` with the
alembic.ini beside this folder. The wheel ships it as sa_perf/migration/scripts.
"""

from __future__ import annotations

from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, Connection

from sa_perf.connecting import on_connection, url_of
from sa_perf.dialects.schema_changes import missing_schema, schema_change
from sa_perf.errors import MigrationError
from sa_perf.migration.environment import options
from sa_perf.tables import TABLE_SCHEMA

config = context.config


def database_url() -> URL:
    """Read where to migrate: handed over, from ``-x url=...``, or from the ini file."""
    given = config.attributes.get("url")
    given = given or context.get_x_argument(as_dictionary=True).get("url")
    given = given or config.get_main_option("sqlalchemy.url")
    if not given:
        raise CommandError("no database is named; run: alembic -x url=DATABASE_URL ...")
    try:
        return url_of(given)
    except MigrationError as error:
        raise CommandError(str(error)) from None


def migrate(connection: Connection) -> None:
    """Run the migrations that were asked for on an open connection."""
    if TABLE_SCHEMA and (fault := missing_schema(connection, TABLE_SCHEMA)):
        raise CommandError(fault)
    with schema_change(connection):
        if "first" in config.attributes:
            config.attributes["first"](connection)
        context.configure(connection=connection, **options(connection))
        with context.begin_transaction():
            context.run_migrations()


if config.config_file_name:
    fileConfig(config.config_file_name, disable_existing_loggers=False)
if context.is_offline_mode():
    context.configure(url=database_url(), literal_binds=True, **options())
    with context.begin_transaction():
        context.run_migrations()
elif "connection" in config.attributes:
    migrate(config.attributes["connection"])
else:
    on_connection(database_url(), migrate)
