"""``sa-perf retention restore`` and ``vacuum``: rows and space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sa_perf.cli.retention.application import on_database, on_models, tell
from sa_perf.errors import RetentionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from sa_perf.cli.output import Output
    from sa_perf.retention.policy import Declared

__all__ = ["restore", "vacuum"]


@click.command()
@click.option("--run", "run_id", metavar="ID", help="Rows that this run archived.")
@click.option("--policy", help="Rows of this policy; with --run: only of it.")
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

    Every file is summed and counted before the first row is put in.
    """
    from sa_perf.retention.archive import restore as put_back
    from sa_perf.retention.runner import policies_of

    if run_id is None and policy is None:
        raise click.UsageError("which rows? Give --run ID (see: sa-perf retention history)")
    metadata = getattr(models, "metadata", models)
    archives = _archives(engine, policies_of(models), run_id, policy)
    total: dict[str, int] = {}
    skipped = 0
    for name, archive in archives.items():
        result = put_back(
            engine,
            archive=archive,
            metadata=metadata,
            run=run_id,
            policy=name,
            on_conflict="skip" if skip_existing else "error",
        )
        skipped += result.skipped
        for table, rows in result.tables.items():
            total[table] = total.get(table, 0) + rows
    tables = ", ".join(f"{rows:,} into {table}" for table, rows in total.items()) or "none"
    tell(
        "restore",
        output,
        {"tables": {**total}, "rows": sum(total.values()), "skipped": skipped},
        f"rows put back: {tables}; {skipped:,} were there already",
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
@on_database
def vacuum(
    engine: Engine,
    output: Output,
    *,
    tables: tuple[str, ...],
    how: Any,  # noqa: ANN401  # one of the words above
    yes: bool,
    blocking: bool,
) -> None:
    """Give the space of deleted rows back: of TABLES, or of all."""
    from sqlalchemy import MetaData, Table

    from sa_perf.cli.terminal.retention import estimate_parts, space_parts
    from sa_perf.json_values import encoded
    from sa_perf.retention import space

    meant = [Table(name, MetaData()) for name in tables] or None
    if not yes:
        found = space.estimate(engine, meant, how=how, blocking=blocking)
        content = {"estimates": [encoded(one) for one in found]}
        tell("vacuum", output, content, *estimate_parts(found))
        return
    done = space.reclaim(engine, meant, how=how, blocking=blocking)
    tell("vacuum", output, {"results": [encoded(one) for one in done]}, *space_parts(done))


def _archives(
    engine: Engine,
    declared: Sequence[Declared],
    run_id: str | None,
    policy: str | None,
) -> dict[str, Any]:
    """The archives of the policies whose rows are wanted, by policy."""
    from sa_perf.retention.audit import history

    names = {one.name: one.policy.archive for one in declared}
    wanted = {policy} if policy is not None else set()
    if policy is None:
        runs = [one for one in history(engine, limit=100_000) if one.run == run_id]
        if not runs:
            raise RetentionError(f"the audit has no run {run_id!r}; see: sa-perf retention history")
        wanted = {one.policy for one in runs if one.rows_archived}
    found = {}
    for name in sorted(wanted):
        if names.get(name) is None:
            raise RetentionError(f"policy {name!r} has no archive in the application")
        found[name] = names[name]
    if not found:
        raise RetentionError(f"run {run_id!r} archived nothing")
    return found
