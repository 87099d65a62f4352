"""``sa-perf top``: the queries that cost most."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sa_perf.cli.options import chosen_database, limit_option, reads_snapshot
from sa_perf.cli.output import Output
from sa_perf.cli.rows import query_row
from sa_perf.queries.aggregate import QueryStats
from sa_perf.snapshot import Snapshot

__all__ = ["KINDS", "ORDERS", "top"]

#: Word of ``--by`` -> attribute of `QueryStats`.
ORDERS = {
    "total": "total_seconds",
    "mean": "mean_seconds",
    "max": "max_seconds",
    "p50": "p50_seconds",
    "p95": "p95_seconds",
    "p99": "p99_seconds",
    "calls": "calls",
    "rows": "rows",
    "errors": "errors",
    "fetch": "fetch_seconds",
}
KINDS = (
    "select", "insert", "update", "delete", "ddl", "transaction", "call", "utility", "other",
)  # fmt: skip


def _kinds(context: click.Context, parameter: click.Parameter, value: str | None) -> frozenset[str]:
    words = frozenset(word.strip().lower() for word in (value or "").split(",") if word.strip())
    unknown = sorted(words - set(KINDS))
    if unknown:
        message = f"{', '.join(unknown)!r} is no kind of statement; kinds are: {', '.join(KINDS)}"
        raise click.BadParameter(message)
    return words


@click.command()
@click.option(
    "--by",
    type=click.Choice(tuple(ORDERS)),
    default="total",
    show_default=True,
    help="Order, highest first.",
)
@limit_option(20, "queries")
@click.option("--database", metavar="LABEL", help="Only of this database; a part is enough.")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND,...",
    callback=_kinds,
    help=f"Only statements of these kinds: {', '.join(KINDS)}.",
)
@click.option("--search", metavar="TEXT", help="Only statements that contain this text.")
@reads_snapshot
def top(
    snapshot: Snapshot,
    output: Output,
    *,
    by: str,
    limit: int,
    database: str | None,
    kinds: frozenset[str],
    search: str | None,
) -> None:
    """Show the queries that cost most.

    Times are those inside the driver, execute plus fetch. The share is that of the time of all
    queries in the snapshot, not only of those shown.
    """
    database = chosen_database(database, [one.label for one in snapshot.databases])
    everything = snapshot.top_queries(len(snapshot.queries), by=ORDERS[by])  # type: ignore[arg-type]  # a word of the table
    found = tuple(_matching(everything, database=database, kinds=kinds, search=search))
    shown = found[: limit or None]
    if output.as_json:
        rows = [query_row(query, snapshot.total_seconds) for query in shown]
        output.print_rows("top", snapshot, rows, matching=len(found))
        return
    from sa_perf.cli.terminal import tables

    output.print(tables.heading(snapshot), tables.QueryTable(shown, snapshot, by=by))
    if len(found) > len(shown):
        output.print(tables.note(f"{len(shown)} of {len(found)}; for all: --limit 0"))
    if shown:
        output.print(tables.note("More on one: sa-perf explain FINGERPRINT"))


def _matching(
    queries: Iterable[QueryStats],
    *,
    database: str | None,
    kinds: frozenset[str],
    search: str | None,
) -> Iterable[QueryStats]:
    text = (search or "").lower()
    for query in queries:
        if (
            (database is None or query.database == database)
            and (not kinds or query.kind in kinds)
            and text in query.statement.lower()
        ):
            yield query
