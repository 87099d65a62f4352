"""The statements to advise on: of a snapshot, of a store or of a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sa_perf.cli.failures import UnreadableInput
from sa_perf.cli.moments import Moment
from sa_perf.cli.options import (
    DEFAULT_SINCE,
    chosen_database,
    one_source,
    refuse_window_without,
)
from sa_perf.cli.source import from_file, from_store, opened_store

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from sa_perf.dialects import Dialect
    from sa_perf.plans.index_advice import AdviceReport, Gain, WorkloadQuery
    from sa_perf.snapshot import Database, Snapshot

__all__ = ["WorkloadSource", "as_written", "workload_of"]

_WHICH_WORKLOAD = (
    "which statements? Give --file PATH (or SA_PERF_FILE), a snapshot that the application writes "
    "with perf.snapshot().write(path); or --store URL (or SA_PERF_STORE), where all processes "
    "flush to; or --sql PATH, statements that end in semicolons"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSource:
    """Where the statements are to come from, as the options say it."""

    file: str | None
    store: str | None
    since: Moment | None
    until: Moment | None
    sql: str | None

    def snapshot(self) -> tuple[Snapshot, str] | None:
        """The snapshot that is meant, and its name for messages; None where ``sql`` is.

        Raises:
            click.UsageError: nothing is given, or several are.
            UnreadableInput: it cannot be read.
        """
        source = one_source(file=self.file, store=self.store, sql=self.sql)
        refuse_window_without(self.store if source == "store" else None, self.since, self.until)
        if source == "sql":
            return None
        if source == "store":
            url = self.store or ""
            with opened_store(url) as reader:
                # A workload is counts and means: no histogram is read.
                snapshot = from_store(
                    reader, self.since or DEFAULT_SINCE, self.until, documents=False
                )
            return snapshot, "the store"
        if source is None or self.file is None:
            raise click.UsageError(_WHICH_WORKLOAD)
        return from_file(self.file), self.file


def workload_of(
    engine: Engine, source: WorkloadSource, database: str | None
) -> tuple[WorkloadQuery, ...]:
    """The statements that were asked for, as they go to the engine's driver."""
    from sa_perf.dialects import dialect_for

    own = dialect_for(engine)
    meant = source.snapshot()
    if meant is None:
        return _from_sql(source.sql or "", own)
    snapshot, name = meant
    chosen = _chosen(snapshot.databases, engine.url, name, database)
    style = _paramstyle(chosen) or own.paramstyle
    workload = snapshot.workload(chosen.label)
    if style == own.paramstyle:
        return workload
    # The application's driver need not be the one at --url.
    return tuple(
        replace(one, statement=_for_driver(own.lexer.rewrite(one.statement, style, _mark), own))
        for one in workload
    )


def as_written(report: AdviceReport, dialect: Dialect) -> AdviceReport:
    """The report with statements as a person writes them, not as they go to the driver."""
    if not _doubles(dialect):
        return report

    def written(gains: Sequence[Gain]) -> tuple[Gain, ...]:
        return tuple(replace(one, statement=one.statement.replace("%%", "%")) for one in gains)

    advice = tuple(
        replace(one, gains=written(one.gains), touched=written(one.touched))
        for one in report.advice
    )
    unadvised = tuple(
        replace(
            one,
            statement=one.statement.replace("%%", "%"),
            because=one.because.replace("%%", "%"),  # may name another statement
        )
        for one in report.unadvised
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
