"""Whether advised indexes pay: the corpus of index advice at full size, with each advice applied.

What is measured: milliseconds of each query (mean over its sets of values, of the fastest
of several runs) without an index, with each advised one alone, and with all of them; the same with
what an expert would have made where nothing was advised; and with what the sqlite3 shell's
``.expert`` names, where that differs. A false advice makes none of its queries twice as fast.

PostgreSQL is the one with HypoPG: at ``SA_PERF_TEST_HYPOPG_URL``, else at the local socket.

    python tests/benchmarks/index_advice.py            # about 10 minutes
    python tests/benchmarks/index_advice.py --quick    # a twentieth of the rows
    python tests/benchmarks/index_advice.py --json --databases sqlite --schemas web_shop
    python tests/benchmarks/index_advice.py --without-statistics
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from databases import Missing, autocommit, database_url
from index_advice_measured import LEAST_RATIO, SCHEMAS, Measurement, measure
from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

DATABASES = ("sqlite", "postgresql")


@contextlib.contextmanager
def _hypopg() -> Iterator[URL]:
    """An empty database of a server that has HypoPG."""
    given = os.environ.get(
        "SA_PERF_TEST_HYPOPG_URL", "postgresql:///postgres?host=/var/run/postgresql"
    )
    url = make_url(given).set(drivername="postgresql+psycopg")
    name = f"sa_perf_benchmark_{os.getpid()}"
    try:
        with autocommit(url) as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    except SQLAlchemyError as error:
        raise Missing(f"no PostgreSQL with HypoPG: {error.args[0]}") from None
    try:
        yield url.set(database=name)
    finally:
        with autocommit(url) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def measure_all(options: argparse.Namespace) -> tuple[dict[str, list[Measurement]], dict[str, str]]:
    """Measurements by database, and why there are none of others."""
    found: dict[str, list[Measurement]] = {}
    failures = {}
    for database in options.databases:
        for schema in SCHEMAS:
            if schema.name not in options.schemas:
                continue
            opened = database_url("sqlite") if database == "sqlite" else _hypopg()
            try:
                with opened as url:
                    engine = create_engine(url)
                    one = measure(
                        engine,
                        schema,
                        scale=0.05 if options.quick else options.scale,
                        statistics=not options.without_statistics,
                        repeats=1 if options.quick else 3,
                        extensions=() if database == "sqlite" else ("hypopg",),
                    )
                    engine.dispose()
            except Missing as error:
                failures[database] = str(error)
                break
            found.setdefault(database, []).append(one)
    return found, failures


def summary(database: str, one: Measurement) -> dict[str, Any]:
    """The figures of a measurement."""
    pairs = [gain for gain in one.gains if gain.ratio >= LEAST_RATIO]
    agreed = [compared for compared in one.compared if compared.agree]
    return {
        "database": database,
        "schema": one.schema,
        "queries": one.queries,
        "advised": len(one.advice),
        "verified": len(one.advice) - len(one.unverified),
        "paying": len(one.advice) - len(one.false),
        "false": list(one.false),
        "gains": len(one.gains),
        "gains_twice_as_fast": len(pairs),
        "missed": [missed.query for missed in one.missed if missed.lacking_ratio >= LEAST_RATIO],
        "unnamed": one.unnamed,
        "slower": sorted(one.slower),
        "expert_agreement_ratio": len(agreed) / len(one.compared) if one.compared else None,
    }


def show(database: str, one: Measurement, console: Console) -> None:
    """Print what was measured."""
    _show_gains(database, one, console)
    _show_missed(database, one, console)
    for name, indexes in one.other.items():
        console.print(f"not expected for {name}: {'; '.join(indexes)}")
    for name, (before, after) in one.slower.items():
        console.print(f"SLOWER  {name}: {_ms(before)} ms before, {_ms(after)} ms with all indexes")
    _show_expert(database, one, console)
    figures = summary(database, one)
    console.print(
        f"{database}, {one.schema}: {figures['queries']} queries; data in "
        f"{one.generated_seconds:.1f} s, advice in {one.advised_seconds:.1f} s; "
        f"{figures['advised']} indexes advised ({figures['verified']} verified), "
        f"{figures['paying']} pay; {figures['gains_twice_as_fast']} of {figures['gains']} gains at "
        f"least {LEAST_RATIO:g} x; {len(figures['unnamed'])} more queries gain"
    )
    for title, names in (("false", figures["false"]), ("missed", figures["missed"])):
        reached = "MISSED" if names else "reached"
        console.print(f"{reached}  no {title} advice: {', '.join(names) or 0}")


def _show_gains(database: str, one: Measurement, console: Console) -> None:
    table = Table(title=f"{database}, {one.schema}: queries of each advice", title_justify="left")
    table.add_column("query")
    for name in ("ms before", "alone", "all", "ratio", "alone", "marginal", "estimate"):
        table.add_column(name, justify="right")
    table.add_column("index", overflow="fold")
    for gain in one.gains:
        ratios = (gain.ratio, gain.alone_ratio, gain.marginal_ratio, gain.estimated_ratio)
        table.add_row(
            ("" if gain.is_true else "! ") + gain.query,
            *map(_ms, (gain.before, gain.alone, gain.together)),
            *("" if ratio is None else f"{ratio:.1f}" for ratio in ratios),
            _keys(gain.index) + ("" if gain.expected else " (not expected)"),
        )
    console.print(table)


def _show_missed(database: str, one: Measurement, console: Console) -> None:
    if not one.missed:
        return
    title = f"{database}, {one.schema}: nothing advised, or not all"
    table = Table(title=title, title_justify="left")
    table.add_column("query")
    for name in ("ms before", "all", "and expected", "ratio", "lacking"):
        table.add_column(name, justify="right")
    table.add_column("expected index", overflow="fold")
    for missed in one.missed:
        words = "; ".join(_keys(index) for index in missed.indexes)
        table.add_row(
            ("! " if missed.lacking_ratio >= LEAST_RATIO else "") + missed.query,
            *map(_ms, (missed.before, missed.together, missed.after)),
            f"{missed.ratio:.1f}",
            f"{missed.lacking_ratio:.1f}",
            words + (f" ({missed.because})" if missed.because else ""),
        )
    console.print(table)


def _show_expert(database: str, one: Measurement, console: Console) -> None:
    if one.expert_unavailable:
        console.print(f".expert: {one.expert_unavailable}")
    if not one.compared:
        return
    table = Table(title=f"{database}, {one.schema}: where .expert differs", title_justify="left")
    for name in ("query", "ours", "ratio", ".expert's", "ratio"):
        table.add_column(name, justify="right" if name == "ratio" else "left", overflow="fold")
    for compared in one.compared:
        if not compared.agree:
            theirs = "; ".join(map(_keys, compared.their_indexes))
            ratio = "" if compared.their_ratio is None else f"{compared.their_ratio:.1f}"
            ours = "; ".join(f"{of} ({key} ..)" for of, key in compared.ours)
            table.add_row(compared.query, ours, f"{compared.our_ratio:.1f}", theirs, ratio)
    console.print(table)
    agreed = sum(compared.agree for compared in one.compared)
    console.print(f".expert agrees for {agreed} of {len(one.compared)} queries")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


def _keys(sql: str) -> str:
    return sql.partition(" ON ")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows, and noise")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is full size")
    parser.add_argument("--without-statistics", action="store_true", help="no ANALYZE")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    names = [schema.name for schema in SCHEMAS]
    parser.add_argument("--schemas", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    found, failures = measure_all(options)
    if options.json:
        document = {
            "summaries": [summary(name, one) for name, several in found.items() for one in several],
            "measurements": {
                name: [dataclasses.asdict(one) for one in several]
                for name, several in found.items()
            },
            "failures": failures,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    console = Console(width=190)
    for name, several in found.items():
        for one in several:
            show(name, one, console)
    for name, reason in failures.items():
        console.print(f"{name}: {reason}")


if __name__ == "__main__":
    main()
