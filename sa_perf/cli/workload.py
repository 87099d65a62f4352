"""The statements to advise on: those of a snapshot, or of a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.options import chosen_database
from sa_perf.cli.source import from_file

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from sa_perf.dialects import Dialect
    from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery
    from sa_perf.snapshot import Database

__all__ = ["as_written", "one_source", "workload_of"]

_WHICH_WORKLOAD = (
    "which statements? Give --file PATH (or SA_PERF_FILE), a snapshot that the application writes "
    "with perf.snapshot().write(path); or --sql PATH, statements that end in semicolons"
)


def workload_of(
    engine: Engine, file: str | None, sql: str | None, database: str | None
) -> tuple[WorkloadQuery, ...]:
    """The statements that were asked for, as they go to the engine's driver."""
    from sa_perf.dialects import dialect_for

    own = dialect_for(engine)
    if sql is not None:
        return _from_sql(sql, own)
    if file is None:
        raise click.UsageError(_WHICH_WORKLOAD)
    snapshot = from_file(file)
    chosen = _chosen(snapshot.databases, engine.url, file, database)
    style = _paramstyle(chosen) or own.paramstyle
    workload = snapshot.workload(chosen.label)
    if style == own.paramstyle:
        return workload
    # The application's driver need not be the one at --url.
    return tuple(
        replace(one, statement=_for_driver(own.lexer.rewrite(one.statement, style, _mark), own))
        for one in workload
    )


def one_source(file: str | None, sql: str | None) -> str | None:
    """The file, unless there are statements; both are refused where both were typed."""
    if file is None or sql is None:
        return file
    source = click.get_current_context().get_parameter_source("file")
    if source is ParameterSource.COMMANDLINE:
        raise click.UsageError("--file and --sql are both given; give one of them")
    return None


def as_written(report: AdviceReport, dialect: Dialect) -> AdviceReport:
    """The report with statements as a person writes them, not as they go to the driver."""
    if not _doubles(dialect):
        return report
    advice = tuple(
        replace(
            one,
            gains=tuple(replace(g, statement=g.statement.replace("%%", "%")) for g in one.gains),
        )
        for one in report.advice
    )
    unadvised = tuple(
        replace(one, statement=one.statement.replace("%%", "%")) for one in report.unadvised
    )
    return replace(report, advice=advice, unadvised=unadvised)


def _chosen(databases: Sequence[Database], url: URL, file: str, wanted: str | None) -> Database:
    """The database of a snapshot that is the one at the URL."""
    from sa_perf.dialects import are_alike
    from sa_perf.post import label_of

    by_label = {one.label: one for one in databases}
    alike = [one for one in databases if are_alike(one.dialect, url.get_backend_name())]
    label = chosen_database(wanted, list(by_label))
    if label is None and len(alike) > 1:
        label = label_of(url)
        if label not in by_label:
            named = ", ".join(one.label for one in alike)
            raise click.UsageError(f"which database is at --url? Give --database, one of: {named}")
    chosen = by_label[label] if label is not None else next(iter(alike), None)
    if chosen is None or chosen not in alike:
        held = [chosen] if chosen is not None else databases
        kinds = ", ".join(sorted({one.dialect for one in held})) or "none"
        raise UnreadableInput(
            f"{file}: it holds nothing of a database like the one at --url "
            f"({url.get_backend_name()}), only: {kinds}"
        )
    return chosen


def _paramstyle(database: Database) -> str | None:
    """That of the driver with which statements were recorded; None if it is not known."""
    from sqlalchemy import URL
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        kind = URL.create(f"{database.dialect}+{database.driver}").get_dialect()
    except (ArgumentError, ImportError, NoSuchModuleError):
        return None
    return getattr(kind, "default_paramstyle", None)


def _mark(key: str | int) -> str:
    return "?"


def _for_driver(text: str, dialect: Dialect) -> str:
    """A text without the driver's placeholders, as it goes to the driver."""
    return text.replace("%", "%%") if _doubles(dialect) else text


def _doubles(dialect: Dialect) -> bool:
    return dialect.paramstyle in ("format", "pyformat")


def _from_sql(path: str, dialect: Dialect) -> tuple[WorkloadQuery, ...]:
    """Each statement with the number of times that it stands there."""
    from sa_perf.plans.index_advice import WorkloadQuery
    from sa_perf.queries.fingerprint import Fingerprinter, fingerprint_of

    counts = Counter(dialect.lexer.statements(_read(path)))
    shapes = Fingerprinter(dialect)
    found: dict[str, WorkloadQuery] = {}
    for statement, calls in counts.items():
        fingerprint = fingerprint_of(shapes.shape_of(statement, raw=True))
        if fingerprint in found:
            # Other literals may be asked for with another plan.
            fingerprint = fingerprint_of(statement)
        found[fingerprint] = WorkloadQuery(
            fingerprint=fingerprint,
            statement=_for_driver(dialect.lexer.with_marks(statement), dialect),
            calls=calls,
        )
    return tuple(found.values())


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UnreadableInput(f"cannot read {path!r}: {reason}") from error
