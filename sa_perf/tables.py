"""sa_perf's own tables: their MetaData, their version in a database.

What they are called is read from the environment when this is first imported, so that whoever works
with them calls them the same: the application, the command line, Alembic.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from sqlalchemy import URL, Connection, Engine, MetaData, String, column, inspect, select, table
from sqlalchemy.exc import DBAPIError

from sa_perf.errors import InvalidSettings, MissingTables
from sa_perf.settings import ENVIRONMENT_PREFIX, OF_TABLES

__all__ = [
    "PREFIX",
    "SCHEMA_VERSION",
    "TABLE_SCHEMA",
    "UNRECORDED",
    "VERSION_TABLE",
    "database_label",
    "lacking",
    "metadata",
    "require_tables",
    "stored_version",
    "table_names_from",
]

_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,19}")
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def table_names_from(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """The prefix of the tables' names and the schema that they are in, if they have one.

    Raises:
        InvalidSettings: a value is no such name, or there is no such variable.
    """
    ours = {
        name: value
        for name, value in environment.items()
        if name.startswith(f"{ENVIRONMENT_PREFIX}TABLE_")
    }
    prefix_name, schema_name = (f"{ENVIRONMENT_PREFIX}{one.upper()}" for one in OF_TABLES)
    prefix = ours.pop(prefix_name, "sa_perf_")
    schema = ours.pop(schema_name, "") or None
    problems = [
        f"unknown setting {name!r}; those of the tables are {prefix_name} and {schema_name}"
        for name in sorted(ours)
    ]
    if not _PREFIX.fullmatch(prefix):
        problems.append(
            f"{prefix_name} is {prefix!r:.80}; allowed are 1 to 20 lower-case letters, digits and "
            "underscores, a letter first"
        )
    if schema and not _SCHEMA.fullmatch(schema):
        problems.append(
            f"{schema_name} is {schema!r:.80}; allowed are 1 to 63 letters, digits and "
            "underscores, no digit first"
        )
    if problems:
        raise InvalidSettings(tuple(problems))
    return prefix, schema


#: Every table of ours begins so, the version table of the migrations too; and the schema that all
#: of them are in, None where it is the one that a connection has without being asked.
PREFIX, TABLE_SCHEMA = table_names_from(os.environ)

#: Newest revision in migrations/versions: what the tables of this version of sa_perf look like.
SCHEMA_VERSION = "sa_perf_0003"

#: Where Alembic keeps the revision; not in `metadata`, for no migration makes it.
VERSION_TABLE = f"{PREFIX}alembic_version"

#: Execution options of sa_perf's own statements: the recorder leaves these out.
UNRECORDED = {"sa_perf_ignore": True}

#: Rooms that keep something in a database add their tables when they are imported.
metadata = MetaData(
    schema=TABLE_SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

_STORED = select(column("version_num", String)).select_from(
    table(VERSION_TABLE, schema=TABLE_SCHEMA)
)


def require_tables(bind: Engine | Connection) -> None:
    """See to it that a database has sa_perf's tables as this version of sa_perf knows them.

    One SELECT of one row, for the start of each run; within a transaction of the caller's one
    look into the catalog more. Where there is no version, as in an application's own Alembic
    history, the catalog is asked for the tables and their columns: 1 to 5 statements more.
    `sa_perf.migration.check` compares all of it.

    Args:
        bind: a connection is left as it was, within its transaction or without one.

    Raises:
        MissingTables: they are not there, or are those of another version; says what to run.
    """
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            require_tables(connection.execution_options(**UNRECORDED))
        return
    found = stored_version(bind)
    if found == SCHEMA_VERSION:
        return
    has = f"has sa_perf's tables of version {found!r}, but this sa_perf needs {SCHEMA_VERSION!r}"
    if found is None:
        absent = lacking(bind)
        if not absent:
            return
        if len(absent) < len(metadata.tables) or any("." in one for one in absent):
            raise MissingTables(
                f"{database_label(bind.engine.url)} has some of sa_perf's tables, and no version "
                f"of theirs; missing: {', '.join(absent)}. If they are in the application's "
                "Alembic history, run: alembic upgrade heads (after alembic revision "
                "--autogenerate, where its env.py calls sa_perf.migration.configure)"
            )
        has = "has no tables of sa_perf's"
    raise MissingTables(
        f"{database_label(bind.engine.url)} {has}; run: sa-perf db upgrade --url URL, "
        "or call sa_perf.migration.upgrade(engine)"
    )


def stored_version(connection: Connection) -> str | None:
    """Revision of sa_perf's tables in a database; None where it has none of them.

    Args:
        connection: left as it was, within its transaction or without one.
    """
    if connection.in_transaction():
        # A SELECT that fails would end the transaction on some databases.
        return _read(connection) if _has_version(connection) else None
    try:
        return _read(connection)
    except DBAPIError:
        connection.rollback()
        # Again where it is there: made a moment ago, or there was another reason, which shows now.
        return _read(connection) if _has_version(connection) else None
    finally:
        connection.rollback()


def lacking(connection: Connection) -> tuple[str, ...]:
    """Tables, and columns of tables, that are not in a database, whoever made the others.

    Args:
        connection: left as it was, within its transaction or without one.

    Returns:
        ``"table"`` or ``"table.column"``, by table; nothing where all are there.
    """
    within = connection.in_transaction()
    try:
        catalog = inspect(connection)
        if TABLE_SCHEMA and not catalog.has_schema(TABLE_SCHEMA):
            return tuple(one.name for one in metadata.sorted_tables)
        seen = catalog.get_multi_columns(
            schema=TABLE_SCHEMA, filter_names=[one.name for one in metadata.sorted_tables]
        )
    finally:
        if not within:
            connection.rollback()
    found = {name: {one["name"] for one in columns} for (_, name), columns in seen.items()}
    absent: list[str] = []
    for one in metadata.sorted_tables:
        if one.name not in found:
            absent.append(one.name)
            continue
        absent += [f"{one.name}.{c.name}" for c in one.columns if c.name not in found[one.name]]
    return tuple(absent)


def database_label(url: URL) -> str:
    """A URL for messages: without user, password and query."""
    shown = URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return shown.render_as_string().partition("?")[0]


def _has_version(connection: Connection) -> bool:
    return inspect(connection).has_table(VERSION_TABLE, schema=TABLE_SCHEMA)


def _read(connection: Connection) -> str | None:
    return connection.scalar(_STORED, execution_options=UNRECORDED)
