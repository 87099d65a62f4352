"""``sa-perf retention hold``, ``holds`` and ``release``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.retention.application import on_database, on_models, tell
from sa_perf.errors import RetentionError

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

    from sa_perf.cli.output import Output

__all__ = ["hold", "holds", "release"]

_by_option = click.option("--by", metavar="NAME", help="Who wants it, for the audit.")


@click.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", required=True, help="Why; kept for the audit.")
@_by_option
@on_models
def hold(
    engine: Engine,
    models: Any,  # noqa: ANN401
    output: Output,
    *,
    table: str,
    key: tuple[str, ...],
    reason: str,
    by: str | None,
) -> None:
    """Hold the row of TABLE with primary key KEY until the hold is released.

    No run deletes, archives, anonymises or soft-deletes it, nor the rows that it refers to. A key
    of several columns is given as several words, in the order of the primary key; before a key that
    begins with "-" write "--".
    """
    from sa_perf.cli.terminal.retention_records import hold_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention.holds import place

    placed = place(engine, _table(models, table), key, reason=reason, by=by)
    tell("hold", output, {"hold": encoded(placed)}, *hold_parts([placed]))


@click.command()
@click.option("--table", metavar="NAME", help="Only rows of this table.")
@click.option("--released", is_flag=True, help="Those that are released too.")
@on_database
def holds(engine: Engine, output: Output, *, table: str | None, released: bool) -> None:
    """List the rows that are held."""
    from sa_perf.cli.terminal.retention_records import hold_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention.holds import list_holds

    found = list_holds(engine, table_name=table, released=released)
    tell("holds", output, {"holds": [encoded(one) for one in found]}, *hold_parts(found))


@click.command()
@click.argument("hold_id", type=int)
@_by_option
@on_database
def release(engine: Engine, output: Output, *, hold_id: int, by: str | None) -> None:
    """Release hold HOLD_ID, so that the next run may take its row."""
    from sa_perf.retention.holds import release as lift

    lift(engine, hold_id, by=by)
    tell("release", output, {"released": hold_id}, f"hold {hold_id} is released")


def _table(models: Any, name: str) -> Table:  # noqa: ANN401
    metadata = getattr(models, "metadata", models)
    tables = getattr(metadata, "tables", {})
    if name not in tables:
        raise RetentionError(
            f"the application has no table {name!r}; it has: {', '.join(sorted(tables)) or '-'}"
        )
    found: Table = tables[name]
    return found
