"""``sa-perf top``: the queries, routes or lines that cost most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from sa_perf.cli.groups import by_call_site
from sa_perf.cli.options import chosen_database, limit_option, reads_snapshot
from sa_perf.cli.output import Output
from sa_perf.cli.rows import query_row, row
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.repeats import RepeatStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.snapshot import Snapshot

__all__ = ["GROUPS", "KINDS", "ORDERS", "top"]

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
#: Words of ``--by`` that show something else than queries.
ROUTE, CALL_SITE = GROUPS = ("route", "call_site")
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
    type=click.Choice((*ORDERS, *GROUPS)),
    default="total",
    show_default=True,
    help="Order, highest first. Or what to show in place of queries: the routes (scopes) that "
    "took most time in the database; the lines of the application that are known to have.",
)
@limit_option(20, "rows")
@click.option("--database", metavar="LABEL", help="Only of this database; a part is enough.")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND,...",
    callback=_kinds,
    help=f"Only statements of these kinds: {', '.join(KINDS)}.",
)
@click.option("--search", metavar="TEXT", help="Only statements that contain this text.")
@reads_snapshot(documents=lambda own: own["by"] == CALL_SITE)
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
    if by == ROUTE:
        _refuse_for_routes(database, kinds)
        _routes(snapshot, output, limit=limit, search=search)
        return
    database = chosen_database(database, [one.label for one in snapshot.databases])
    narrowed = database is not None or bool(kinds) or bool(search)
    order = ORDERS.get(by, "total_seconds")
    everything = snapshot.top_queries(len(snapshot.queries), by=order)  # type: ignore[arg-type]  # a word of the table
    found = tuple(_matching(everything, database=database, kinds=kinds, search=search))
    if by == CALL_SITE:
        _call_sites(snapshot, output, limit=limit, queries=found if narrowed else None)
        return
    shown = found[: limit or None]
    if output.as_json:
        rows = [query_row(query, snapshot.total_seconds) for query in shown]
        output.print_rows("top", snapshot, rows, matching=len(found))
        return
    from sa_perf.cli.terminal import tables

    output.print(tables.heading(snapshot), tables.QueryTable(shown, snapshot, by=by))
    _tell_rest(output, len(shown), len(found))
    if shown:
        output.print(tables.note("More on one: sa-perf explain FINGERPRINT"))


def _refuse_for_routes(database: str | None, kinds: frozenset[str]) -> None:
    for given, option in ((database, "--database"), (kinds, "--kind")):
        if given:
            raise click.UsageError(
                f"{option} does not go with --by route: what a route issued is summed up over "
                "all databases and kinds of statements"
            )


def _routes(snapshot: Snapshot, output: Output, *, limit: int, search: str | None) -> None:
    text = (search or "").lower()
    found = [one for one in snapshot.scopes if text in one.name.lower()]
    shown = found[: limit or None]
    total = snapshot.total_seconds
    if output.as_json:
        ratios = (one.database_seconds / total if total > 0 else 0.0 for one in shown)
        rows = [
            {**row(one), "total_ratio": ratio} for one, ratio in zip(shown, ratios, strict=True)
        ]
        output.print_rows("top", snapshot, rows, matching=len(found))
        return
    from sa_perf.cli.terminal import groups, tables

    output.print(tables.heading(snapshot), groups.RouteTable(shown, total))
    _tell_rest(output, len(shown), len(found))


def _call_sites(
    snapshot: Snapshot, output: Output, *, limit: int, queries: Sequence[QueryStats] | None
) -> None:
    """Print the lines of some queries, or of all statements where these are None."""
    keys = {(one.fingerprint, one.database) for one in queries or ()}

    def is_meant(one: SlowExecution | RepeatStats) -> bool:
        return queries is None or (one.fingerprint, one.database) in keys

    found = by_call_site(
        [one for one in snapshot.slow if is_meant(one)],
        [one for one in snapshot.repeats if is_meant(one)],
    )
    shown = found[: limit or None]
    if output.as_json:
        output.print_rows("top", snapshot, [row(one) for one in shown], matching=len(found))
        return
    from sa_perf.cli.terminal import groups, tables

    statements = {one.fingerprint: one.statement for one in snapshot.slow}
    statements.update({one.fingerprint: one.statement for one in snapshot.queries})
    output.print(tables.heading(snapshot), groups.CallSiteTable(shown, statements))
    _tell_rest(output, len(shown), len(found))
    output.print(tables.note("Lines are known of slow executions and of repetitions"))


def _tell_rest(output: Output, shown: int, found: int) -> None:
    if found > shown:
        from sa_perf.cli.terminal import tables

        output.print(tables.note(f"{shown} of {found}; for all: --limit 0"))


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
