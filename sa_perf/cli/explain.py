"""``sa-perf explain``: all that is known of one query."""

from __future__ import annotations

import click

from sa_perf.cli.failures import NothingFound
from sa_perf.cli.options import chosen_database, reads_snapshot
from sa_perf.cli.output import Output
from sa_perf.cli.rows import query_row, row
from sa_perf.cli.severity import exit_when_found, fail_on_option
from sa_perf.cli.single_query import SingleQuery, single_query
from sa_perf.json_values import JSONValue
from sa_perf.snapshot import Snapshot

__all__ = ["explain"]

_LISTED = 10
_STATEMENT_CHARACTERS = 60


@click.command()
@click.option("--database", metavar="LABEL", help="Only as it ran there; a part is enough.")
@fail_on_option
@click.argument("fingerprint")
@reads_snapshot
def explain(
    snapshot: Snapshot,
    output: Output,
    *,
    fingerprint: str,
    database: str | None,
    fail_on: str,
) -> None:
    """Show the statement, figures, plan and findings of one query.

    FINGERPRINT is what sa-perf top shows; the beginning is enough where only one query has it. The
    plan is the one that the application's process got; nothing is sent to a database.
    """
    database = chosen_database(database, [one.label for one in snapshot.databases])
    snapshot = snapshot if database is None else snapshot.of_database(database)
    whole = _meant(snapshot, fingerprint.strip().lower(), database)
    query = single_query(snapshot, whole, database)
    if output.as_json:
        output.print_rows("explain", snapshot, [_row(whole, query, snapshot)], matching=1)
    else:
        from sa_perf.cli.terminal.explained import explained

        output.print(*explained(whole, query, snapshot))
    exit_when_found(query.findings, fail_on)


def _meant(snapshot: Snapshot, beginning: str, database: str | None) -> str:
    """The one fingerprint that begins so.

    Raises:
        NothingFound: there is none.
        click.BadParameter: there are several; names them.
    """
    statements = {
        query.fingerprint: query.statement
        for query in snapshot.queries
        if database is None or query.database == database
    }
    # A plan or a slow execution may outlive its query, which was evicted into "other".
    for one in snapshot.slow:
        if database is None or one.database == database:
            statements.setdefault(one.fingerprint, one.statement)
    for explained in snapshot.plans:
        statements.setdefault(explained.fingerprint, "")
    if beginning in statements:
        return beginning
    found = [one for one in statements if beginning and one.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NothingFound(
            f"no query has a fingerprint that begins with {beginning!r}; see: sa-perf top"
        )
    from sa_perf.cli.wording.plain_text import one_line, shortened

    shown = [
        f"{one_line(one)} ({shortened(statements[one], _STATEMENT_CHARACTERS)})"
        for one in found[:_LISTED]
    ]
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    raise click.BadParameter(
        f"{beginning!r} is the beginning of {len(found)}: {'; '.join(shown)}{more}",
        param_hint="'FINGERPRINT'",
    )


def _row(fingerprint: str, query: SingleQuery, snapshot: Snapshot) -> dict[str, JSONValue]:
    return {
        "fingerprint": fingerprint,
        "queries": [query_row(one, snapshot.total_seconds) for one in query.figures],
        "plans": [row(one) for one in query.plans],
        "findings": [row(one) for one in query.findings],
        "slow": [row(one) for one in query.slow],
    }
