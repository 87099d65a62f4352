"""Upgrade, downgrade, current and check of sa_perf's own tables.

One at a time in a process: Alembic keeps what it works on in its modules. For the same reason not
from inside another Alembic environment.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, Table

from sa_perf.connecting import Bind, on_connection, url_of
from sa_perf.dialects.schema_changes import schema_change
from sa_perf.errors import MigrationError
from sa_perf.migration.environment import TABLES, configuration, options
from sa_perf.tables import (
    SCHEMA_VERSION,
    TABLE_SCHEMA,
    VERSION_TABLE,
    database_label,
    lacking,
    metadata,
    stored_version,
)

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

__all__ = ["check", "current", "downgrade", "release", "upgrade"]

_ALEMBIC = threading.RLock()


def upgrade(bind: Bind, revision: str = "head", *, sql: bool = False) -> str:
    """Make sa_perf's tables, or bring them up to a revision; what is there already stays.

    All or nothing, and within a transaction of the caller's nothing is committed; but MySQL and
    MariaDB commit at each CREATE TABLE. Another process that does the same is waited for.

    Args:
        bind: an engine, a connection or a URL, also with an asynchronous driver; with an
            ``AsyncConnection`` use ``await connection.run_sync(upgrade)``.
        revision: of migrations/versions, or ``"head"``; with ``sql`` also ``"from:to"``.
        sql: connect to nothing, give the statements.

    Returns:
        The statements where ``sql`` asks for them, else the empty text.

    Raises:
        MigrationError: there is no such revision, the database's own one is unknown, the tables
            were made by another history (the application's Alembic), or the URL cannot be read.

    Example:
        >>> from sqlalchemy import create_engine
        >>> engine = create_engine("sqlite://")
        >>> upgrade(engine)
        ''
        >>> current(engine)
        'sa_perf_0003'
    """
    from alembic import command

    if sql:
        return _offline(bind, lambda config: command.upgrade(config, revision, sql=True))
    return _online(bind, lambda config: command.upgrade(config, revision))


def downgrade(bind: Bind, revision: str, *, sql: bool = False) -> str:
    """Bring sa_perf's tables back to a revision; ``"base"`` drops them with all that they hold.

    Args:
        bind: as for `upgrade`.
        revision: of migrations/versions, or ``"base"``; with ``sql`` also ``"from:to"``, where
            from is the newest one unless given.
        sql: connect to nothing, give the statements.

    Returns:
        The statements where ``sql`` asks for them, else the empty text.

    Raises:
        MigrationError: as for `upgrade`.
    """
    from alembic import command

    if sql:
        span = revision if ":" in revision else f"{SCHEMA_VERSION}:{revision}"
        return _offline(bind, lambda config: command.downgrade(config, span, sql=True))
    return _online(bind, lambda config: command.downgrade(config, revision))


def current(bind: Bind) -> str | None:
    """The revision of a database; None where it has no tables of sa_perf's.

    None also where the application's own Alembic history keeps them, with their version.

    Args:
        bind: as for `upgrade`.
    """
    return on_connection(bind, stored_version)


def check(bind: Bind) -> tuple[str, ...]:
    """Compare the tables in a database with those that this version of sa_perf works with.

    Reads the catalog, in some dozen statements. An index that somebody added is no fault.

    Args:
        bind: as for `upgrade`.

    Returns:
        What is missing or differs, a phrase each; nothing where all is well.

    Raises:
        MigrationError: the URL cannot be read.
    """
    return on_connection(bind, _faults)


def release(bind: Bind) -> None:
    """Give the tables to the application's own Alembic history: drops their version table only.

    Afterwards `upgrade` and `downgrade` refuse this database. A second call does nothing.

    Args:
        bind: as for `upgrade`.

    Raises:
        MigrationError: the tables are not those of this version; `check` says what is amiss.
    """

    def on(connection: Connection) -> None:
        within = connection.in_transaction()
        faults = _faults(connection)
        if not within:
            connection.rollback()  # what was read began one
        if faults:
            raise MigrationError(
                f"{database_label(connection.engine.url)}: {'; '.join(faults)}; first run: "
                "sa-perf db upgrade"
            )
        with schema_change(connection):
            Table(VERSION_TABLE, MetaData(), schema=TABLE_SCHEMA).drop(connection, checkfirst=True)

    on_connection(bind, on)


def _online(bind: Bind, run: Callable[[Config], None]) -> str:
    def on(connection: Connection) -> None:
        found = stored_version(connection)
        with _one_at_a_time(found, database_label(connection.engine.url)):
            run(configuration(connection=connection, first=_refuse_tables_of_others))

    on_connection(bind, on)
    return ""


def _refuse_tables_of_others(connection: Connection) -> None:
    """Called when no other process changes the tables any more: one may just have made them."""
    if stored_version(connection) or _has_none(connection):
        return
    raise MigrationError(
        f"{database_label(connection.engine.url)}: tables of sa_perf's already exist, without a "
        f"version in {VERSION_TABLE}: something else made them. If they are in the application's "
        "Alembic history, run alembic upgrade heads there and not sa-perf db; sa-perf db check "
        "tells whether they are complete. If an upgrade broke off halfway, where the database "
        "commits at each CREATE TABLE, drop what it made"
    )


def _offline(bind: Bind, run: Callable[[Config], None]) -> str:
    output = io.StringIO()
    with _one_at_a_time(None, ""):
        run(configuration(output=output, url=url_of(bind)))
    return output.getvalue()


@contextmanager
def _one_at_a_time(found: str | None, database: str) -> Iterator[None]:
    from alembic.util import CommandError

    with _ALEMBIC:
        try:
            yield
        except CommandError as error:
            if found is not None and f"'{found}'" in str(error):
                raise MigrationError(
                    f"{database} has sa_perf's tables of version {found!r}, which this sa_perf "
                    "does not know; a newer one made them: update sa_perf"
                ) from error
            raise MigrationError(str(error)) from error


def _faults(connection: Connection) -> tuple[str, ...]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    found = stored_version(connection)
    if found != SCHEMA_VERSION and (found or _has_none(connection)):
        has = "there are no tables" if found is None else f"the tables are of version {found!r}"
        return (f"{has}, this sa_perf needs {SCHEMA_VERSION!r}",)
    context = MigrationContext.configure(connection, opts=options(connection))
    differences = compare_metadata(context, metadata)
    return tuple(
        _in_words(one[0] if isinstance(one, list) else one)
        for one in differences
        if one[0] != "remove_index"
    )


def _has_none(connection: Connection) -> bool:
    return set(lacking(connection)) >= {table.name for table in TABLES}


def _in_words(difference: tuple[Any, ...]) -> str:
    """``("modify_type", schema, table, column, ...)``, or ``("add_index", Index(...))``."""
    kind, *about = difference
    verb, _, what = str(kind).partition("_")
    if verb == "modify":
        return f"column {about[1]}.{about[2]} has another {what}"
    item = about[-1]
    table = getattr(item, "table", None)
    name = item.name if table is None else f"{table.name}.{item.name}"
    return f"{what} {name} {'is missing' if verb == 'add' else 'is not of this version'}"
