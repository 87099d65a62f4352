"""``sa-perf retention restore`` and ``vacuum``: rows and space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.failures import FOUND, Refused
from sa_perf.cli.retention.application import on_database, on_models, tell
from sa_perf.errors import RetentionError, SaPerfError, SpaceRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine, Table

    from sa_perf.cli.output import Output
    from sa_perf.retention.policy import Declared

__all__ = ["restore", "vacuum"]

#: What errors call an argument -> what it is called here.
_OPTIONS = {
    'on_conflict="skip"': "--skip-existing",
    "reclaim(..., how='vacuum', make_incremental=True)": "--how vacuum --make-incremental",
    "make_incremental": "--make-incremental",
    "blocking=True": "--blocking",
    "free_bytes": "--free-bytes",
    "lock_seconds": "--lock-seconds",
    "how='": "--how '",
}


@click.command()
@click.option("--run", "run_id", metavar="ID", help="Rows that this run archived.")
@click.option(
    "--policy", metavar="NAME", help="Rows of this policy, of all its runs; with --run: of that."
)
@click.option("--skip-existing", is_flag=True, help="Leave rows that are there as they are.")
@on_models
def restore(
    engine: Engine,
    models: Any,  # noqa: ANN401
    output: Output,
    *,
    run_id: str | None,
    policy: str | None,
    skip_existing: bool,
) -> None:
    """Put archived rows back into their tables.

    Every file is summed and counted before the first row is put in. The rows have still expired:
    unless they are held, or the policy is changed, the next run takes them again.
    """
    from sa_perf.retention.archive import restore as put_back

    if run_id is None and policy is None:
        raise click.UsageError(
            "which rows? Give --run ID, or --policy NAME (see: sa-perf retention history)"
        )
    total: dict[str, int] = {}
    skipped = 0
    for name, archive in _archives(engine, models, run_id, policy).items():
        try:
            result = put_back(
                engine,
                archive=archive,
                metadata=getattr(models, "metadata", models),
                run=run_id,
                policy=name,
                on_conflict="skip" if skip_existing else "error",
            )
        except SaPerfError as error:
            raise RetentionError(_in_options(str(error))) from error
        skipped += result.skipped
        for table, rows in result.tables.items():
            total[table] = total.get(table, 0) + rows
    put = ", ".join(f"{rows:,} into {table}" for table, rows in total.items() if rows) or "none"
    there = f"; {skipped:,} were there already" if skipped else ""
    tell(
        "restore",
        output,
        {"tables": {**total}, "rows": sum(total.values()), "skipped": skipped},
        f"rows put back: {put}{there}",
    )


@click.command()
@click.argument("tables", nargs=-1)
@click.option(
    "--how",
    type=click.Choice(["auto", "vacuum", "incremental", "optimize", "full"]),
    default="auto",
    show_default=True,
    help="The way; auto is the one that blocks least.",
)
@click.option("--yes", is_flag=True, help="Do it; without, only say what it would cost.")
@click.option("--blocking", is_flag=True, help="Allow a way that nobody can read or write beside.")
@click.option(
    "--free-bytes",
    type=click.IntRange(min=0),
    help="Free bytes of the database's disk, where they cannot be asked for from here.",
)
@click.option(
    "--lock-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="How long to wait for a table in use before it is left alone.",
)
@click.option(
    "--make-incremental",
    is_flag=True,
    help="Of a database that is one file: have this vacuum fit it for --how incremental.",
)
@on_database
def vacuum(
    engine: Engine,
    output: Output,
    *,
    tables: tuple[str, ...],
    yes: bool,
    lock_seconds: float,
    **asked: Any,  # noqa: ANN401  # what `estimate` takes, too
) -> None:
    """Give the space of deleted rows back: of TABLES, or of all.

    Without --yes it says what that would cost: time, disk for the meantime, who waits. A database
    that is one file is always taken as a whole. Refused where the disk has no room, or where
    nobody can say whether it has.
    """
    from sa_perf.cli.terminal.retention_space import estimate_parts, space_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention import space

    meant = [_table(engine, name) for name in tables] or None
    try:
        if not yes:
            found = space.estimate(engine, meant, **asked)
            content = {"estimates": [encoded(one) for one in found]}
            tell("vacuum", output, content, *estimate_parts(found, in_options=_in_options))
            return
        done = space.reclaim(engine, meant, lock_seconds=lock_seconds, **asked)
    except SpaceRefused as error:
        raise Refused(_in_options(str(error))) from error
    except SaPerfError as error:
        raise RetentionError(_in_options(str(error))) from error
    content = {"results": [encoded(one) for one in done]}
    tell("vacuum", output, content, *space_parts(done, in_options=_in_options))
    if any(one.refusal for one in done):
        raise click.exceptions.Exit(FOUND)


def _in_options(text: str) -> str:
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return text


def _table(engine: Engine, name: str) -> Table:
    """A table by its name, with a schema before it or without."""
    from sqlalchemy import MetaData, Table, inspect

    schema, _, own = name.rpartition(".")
    if not inspect(engine).has_table(own, schema=schema or None):
        raise RetentionError(f"the database has no table {name!r}")
    return Table(own, MetaData(), schema=schema or None)


def _archives(
    engine: Engine,
    models: Any,  # noqa: ANN401
    run_id: str | None,
    policy: str | None,
) -> dict[str, Any]:
    """The archives of the policies whose rows are wanted: those of parents first."""
    from sa_perf.retention.runner import in_order, policies_of

    declared = policies_of(models, None if policy is None else [policy])
    wanted = {policy} if policy is not None else set(_archived_by(engine, str(run_id)))
    known = {one.name: one for one in declared}
    lost = sorted(name for name in wanted if name not in known or not known[name].policy.archive)
    if lost:
        raise RetentionError(f"policy {', '.join(lost)} has no archive in the application")
    ordered: Sequence[Declared] = in_order([known[name] for name in wanted])
    return {one.name: one.policy.archive for one in reversed(ordered)}


def _archived_by(engine: Engine, run_id: str) -> Iterator[str]:
    """Policies of a run that archived rows, also where it did not come to its end."""
    from sqlalchemy import exists, select

    from sa_perf.dialects.purging import purging_of
    from sa_perf.retention.tables import batches, runs
    from sa_perf.tables import require_tables

    archived = exists().where(batches.c.run_id == runs.c.id, batches.c.rows_archived > 0)
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        require_tables(connection)
        with purging.reading(connection):
            found = connection.execute(
                select(runs.c.policy, archived).where(runs.c.run == run_id)
            ).all()
    if not found:
        raise RetentionError(f"the audit has no run {run_id!r}; see: sa-perf retention history")
    if not any(some for _, some in found):
        raise RetentionError(f"run {run_id!r} archived nothing")
    yield from (name for name, some in found if some)
