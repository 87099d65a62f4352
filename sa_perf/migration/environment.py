"""What Alembic is told: where the revisions are, which tables are ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sa_perf.retention import tables as retention
from sa_perf.store import tables as store
from sa_perf.tables import TABLE_SCHEMA, VERSION_TABLE, metadata

if TYPE_CHECKING:
    from typing import TextIO

    from alembic.config import Config
    from sqlalchemy import Connection

__all__ = ["TABLES", "configuration", "options", "scripts"]

#: Rooms that keep something, by their tables: named here, so imported before anything is compared.
TABLES = (*retention.TABLES, *store.TABLES)


def scripts() -> Path:
    """The folder of env.py and the revisions: shipped in the wheel, or of the checkout."""
    shipped = Path(__file__).parent / "scripts"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "migrations"


def configuration(*, output: TextIO | None = None, **attributes: Any) -> Config:  # noqa: ANN401
    """Alembic's configuration without any alembic.ini.

    Args:
        output: where SQL is written to instead of being run.
        attributes: for env.py, ``connection`` or ``url``; ``first`` is called with the connection
            once nobody else changes the tables.
    """
    from alembic.config import Config

    config = Config(output_buffer=output, attributes=attributes)
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config


def options(connection: Connection | None = None) -> dict[str, Any]:
    """Options of Alembic's ``context.configure`` and ``MigrationContext.configure``.

    The tables live in the application's database: the version table has a name of its own, and
    nobody else's table is looked at.

    Args:
        connection: where tables are looked at; not needed for a script of statements.
    """
    default = None if connection is None else connection.dialect.default_schema_name
    looked_at = None if default == TABLE_SCHEMA else TABLE_SCHEMA  # Alembic's name of the default

    def include_name(name: str | None, kind: str, parents: object) -> bool:
        return kind != "schema" or name == looked_at

    return {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "version_table_schema": TABLE_SCHEMA,
        "include_schemas": TABLE_SCHEMA is not None,
        "include_name": include_name,
        "include_object": _is_ours,
        "compare_type": True,
        "render_as_batch": True,
    }


def _is_ours(item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
    return kind != "table" or name in {table.name for table in TABLES}
