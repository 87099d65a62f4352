"""``sa-perf retention partitions``: how they stand, and their upkeep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.failures import FOUND
from sa_perf.cli.retention.application import on_models, tell
from sa_perf.errors import PartitionError, SaPerfError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from sa_perf.cli.output import Output
    from sa_perf.json_values import JSONValue
    from sa_perf.retention.partitions import PartitionPlan

__all__ = ["ByTable", "partitions", "upkeep"]

log = logging.getLogger("sa_perf.retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTable:
    """What was learnt of each table, or done.

    Attributes:
        found: a `PartitionStatus` or a `PartitionRun` of each.
        failed: what went wrong, by table.
    """

    found: list[Any] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is to be seen to."""
        return not self.failed and all(one.ok for one in self.found)

    def to_dict(self) -> dict[str, JSONValue]:
        """As plain values."""
        from sa_perf.json_values import encoded

        return {"tables": [encoded(one) for one in self.found], "errors": {**self.failed}}


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
    from sa_perf.retention.partitions import status

    if maintain:
        done = upkeep(engine, models, tables)
        parts = upkeep_parts(done.found, done.failed)
    else:
        done = _by_table(engine, _declared(models, tables), lambda plan: status(engine, plan))
        parts = status_parts(done.found, done.failed)
    tell("partitions", output, done.to_dict(), *parts)
    if not done.ok:
        raise click.exceptions.Exit(FOUND)


def upkeep(
    engine: Engine,
    models: Any,  # noqa: ANN401
    names: Sequence[str] = (),
    *,
    now: datetime | None = None,
) -> ByTable:
    """See to the partitions of each declared table; what fails with one stops no other.

    Raises:
        PartitionError: a name is none of a declared table.
        DBAPIError: the database cannot be reached.
    """
    from sa_perf.retention.partitions import maintain

    plans = _declared(models, names)
    return _by_table(engine, plans, lambda plan: maintain(engine, plan, now=now))


def _by_table(
    engine: Engine, plans: Iterable[PartitionPlan], act: Callable[[PartitionPlan], object]
) -> ByTable:
    from sqlalchemy.exc import DBAPIError

    from sa_perf.retention.wording import error_words

    with engine.connect():
        pass  # a database that cannot be reached is no fault of a table
    done = ByTable()
    for plan in plans:
        name = plan.table.fullname
        try:
            done.found.append(act(plan))
        except SaPerfError as error:
            done.failed[name] = str(error)
        except DBAPIError as error:
            done.failed[name] = error_words(error)
        except Exception as error:  # whatever the application's before_drop and must_keep raise
            log.exception("the partitions of %r could not be seen to", name)
            done.failed[name] = error_words(error)
    return done


def _declared(models: Any, names: Sequence[str]) -> list[PartitionPlan]:  # noqa: ANN401
    from sa_perf.retention.partitions import declared_partitions

    plans = {plan.table.fullname: plan for plan in declared_partitions(models)}
    unknown = [name for name in names if name not in plans]
    if unknown:
        raise PartitionError(
            f"no partitions are declared for {', '.join(unknown)}; they are for: "
            f"{', '.join(plans) or '-'}"
        )
    return [plans[name] for name in (names or plans)]
