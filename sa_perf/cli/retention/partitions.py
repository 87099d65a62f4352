"""``sa-perf retention partitions``: how they stand, and their upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.failures import FOUND
from sa_perf.cli.retention.application import on_models, tell
from sa_perf.errors import PartitionError, PolicyBusy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from sa_perf.cli.output import Output
    from sa_perf.json_values import JSONValue
    from sa_perf.retention.partitions import PartitionPlan

__all__ = ["partitions"]


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--maintain", is_flag=True, help="Make those that are missing, drop those too old.")
@on_models
def partitions(
    engine: Engine,
    models: Any,  # noqa: ANN401
    output: Output,
    *,
    tables: tuple[str, ...],
    maintain: bool,
) -> None:
    """Show the partitions of TABLES, or of all that are declared; with --maintain see to them.

    Exits with 1 if there is something to be seen to, or a table could not be.
    """
    from sa_perf.cli.terminal.partitions import status_parts, upkeep_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention import partitions as room

    found: list[Any] = []
    failed: dict[str, str] = {}
    for plan in _declared(models, tables):
        try:
            one = room.maintain(engine, plan) if maintain else room.status(engine, plan)
        except (PartitionError, PolicyBusy) as error:
            failed[plan.table.fullname] = str(error)
        else:
            found.append(one)
    content: dict[str, JSONValue] = {
        "tables": [encoded(one) for one in found],
        "errors": {**failed},
    }
    shown = upkeep_parts(found, failed) if maintain else status_parts(found, failed)
    tell("partitions", output, content, *shown)
    if failed or any(one.warnings for one in found):
        raise click.exceptions.Exit(FOUND)


def _declared(models: Any, names: Sequence[str]) -> list[PartitionPlan]:  # noqa: ANN401
    from sa_perf.retention.partitions import declared_partition

    metadata = getattr(models, "metadata", models)
    plans = {}
    for table in metadata.tables.values():
        try:
            plans[table.fullname] = declared_partition(table)
        except PartitionError:
            continue
    unknown = [name for name in names if name not in plans]
    if unknown:
        raise PartitionError(
            f"no partitions are declared for {', '.join(unknown)}; they are for: "
            f"{', '.join(sorted(plans)) or '-'}"
        )
    return [plans[name] for name in (names or sorted(plans))]
