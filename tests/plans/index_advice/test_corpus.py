from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from corpus import SCHEMAS, generate
from corpus.queries import CorpusQuery, Schema
from corpus.running import applied, run
from corpus.verdicts import is_met, keys_of, unwanted
from corpus.work import Work, work_of
from sqlalchemy import Connection, create_engine, text

from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.plans.index_advice import AdviceReport, WorkloadQuery, advise

SMALL, FULL = 0.05, 1.0
MARKS = {"sqlite": [], "postgresql": [pytest.mark.hypopg, pytest.mark.postgresql]}
BY_SCHEMA = pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
BY_DIALECT = pytest.mark.parametrize(
    "dialect", [pytest.param(name, marks=marks) for name, marks in MARKS.items()]
)
#: Where the advice is not what an expert would make: (dialect, query) -> why.
DIFFERENCES = {
    ("sqlite", "customers_near_postcode"): "how narrow BETWEEN is stands in its parameters",
    ("postgresql", "customers_near_postcode"): "how narrow BETWEEN is stands in its parameters",
    ("sqlite", "events_in_state"): "that only rare states are asked for stands in its parameters",
    ("postgresql", "events_in_state"): "likewise",
    ("postgresql", "products_of_brand"): "no index of ->> is thought of",
}
#: What the lowest sqlglot reads in another way: (dialect, query) -> why.
UNREAD = {("sqlite", "products_of_brand"): "it writes the path of JSON_EXTRACT anew"}
OLD_SQLGLOT = int(version("sqlglot").partition(".")[0]) < 26
#: Gains that the count of the work does not show: (dialect, query) -> why.
UNCOUNTED = {
    ("sqlite", "readings_by_quality"): "to sort is one step of the machine",
    ("sqlite", "best_customers"): "likewise; it takes a tenth of the time",
    ("postgresql", "good_reviews"): "1.5 times as few pages and rows, of which each is cheaper",
}
#: Advised though another that is advised serves as well: (dialect, index) -> why.
SUPERFLUOUS = {
    ("postgresql", "ix_payments_state_created_at"): "payments (created_at) is there for others",
    ("postgresql", "ix_readings_batch_id_sensor_id"): "readings (batch_id) is there for others",
}
#: Advised though another that is advised begins with it: (dialect, index).
BEGINNINGS = {
    ("sqlite", "ix_alerts_sensor_id"),
    ("sqlite", "ix_readings_batch_id"),
    ("postgresql", "ix_readings_batch_id"),
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A schema on a database: what was advised, and the work before and with all of it."""

    report: AdviceReport
    before: dict[str, Work]
    after: dict[str, Work]

    def advised_for(self, name: str) -> list[IndexDefinition]:
        return [
            advice.definition
            for advice in self.report.advice
            if any(gain.fingerprint == name for gain in advice.gains)
        ]

    def halves(self, name: str) -> bool:
        return self.after[name].amount * 2 <= self.before[name].amount

    def why(self, name: str) -> str:
        """What was advised for a query, in words for a failure."""
        said = [one.because for one in self.report.unadvised if one.fingerprint == name]
        return "; ".join([*(index.name for index in self.advised_for(name)), *said]) or "nothing"


Trials = Callable[[str, Schema, float], Trial]


@pytest.fixture(scope="session")
def trials(request, tmp_path_factory) -> Iterator[Trials]:
    """Makes each database once, asks for advice, and makes the advised indexes."""
    made: dict[Any, Trial] = {}
    with contextlib.ExitStack() as opened:

        def trial(dialect: str, schema: Schema, scale: float) -> Trial:
            key = dialect, schema.name, scale
            if key not in made:
                if dialect == "sqlite":
                    url: Any = f"sqlite:///{tmp_path_factory.mktemp('corpus') / 'corpus.db'}"
                else:
                    server = request.getfixturevalue("hypopg_server")
                    url = opened.enter_context(server.database("corpus")).url
                engine = create_engine(url)
                opened.callback(engine.dispose)
                generate(engine, schema, scale=scale)
                with engine.connect() as connection:
                    made[key] = _tried(connection, schema, scale)
            return made[key]

        yield trial


def _tried(connection: Connection, schema: Schema, scale: float) -> Trial:
    dialect, rows = connection.dialect.name, schema.rows(scale)
    if dialect == "postgresql":
        connection.exec_driver_sql("CREATE EXTENSION hypopg")
        connection.commit()
    queries = {query.name: query for query in schema.queries_of(dialect)}

    def worked() -> dict[str, Work]:
        return {
            name: work_of(connection, query, query.values(rows)) for name, query in queries.items()
        }

    before = worked()
    report = advise(
        connection.engine,
        [_recorded(query, before[name]) for name, query in queries.items()],
        keep_literals=True,
        timeout_seconds=20,
    )
    with applied(connection, [one.create_sql for one in report.advice]):
        after = worked()
    return Trial(report=report, before=before, after=after)


def _recorded(query: CorpusQuery, work: Work) -> WorkloadQuery:
    """As sa_perf would have recorded it, but that its time is its work."""
    return WorkloadQuery(
        fingerprint=query.name,
        statement=work.statement,
        calls=query.calls,
        mean_seconds=work.amount * 1e-7,
        mean_rows=work.rows,
    )


def _each_query() -> list[Any]:
    found = []
    for dialect, marks in MARKS.items():
        for schema in SCHEMAS:
            for query in schema.queries_of(dialect):
                why = DIFFERENCES.get((dialect, query.name))
                known = [pytest.mark.xfail(reason=why, strict=True)] if why else []
                if (dialect, query.name) in UNREAD and OLD_SQLGLOT:
                    known = [pytest.mark.skip(reason=UNREAD[dialect, query.name])]
                named = f"{dialect}-{query.name}"
                values = (dialect, schema, query)
                found.append(pytest.param(*values, marks=[*marks, *known], id=named))
    return found


@pytest.mark.parametrize(("dialect", "schema", "query"), _each_query())
def test_a_query_gets_the_index_that_an_expert_would_make(dialect, schema, query, trials) -> None:
    assert faults_of_query(trials(dialect, schema, SMALL), dialect, query) == []


@BY_DIALECT
@BY_SCHEMA
def test_an_advised_index_is_used_and_halves_the_work(dialect, schema, trials) -> None:
    assert faults_of_indexes(trials(dialect, schema, SMALL), dialect) == []


@BY_DIALECT
@BY_SCHEMA
def test_no_advised_index_begins_another(dialect, schema, trials) -> None:
    assert beginnings(trials(dialect, schema, SMALL), dialect) == []


@pytest.mark.exhaustive
@pytest.mark.timeout(1_800)
@BY_DIALECT
@BY_SCHEMA
def test_at_full_size_nothing_else_is_advised(dialect, schema, trials) -> None:
    trial = trials(dialect, schema, FULL)
    faults = faults_of_indexes(trial, dialect)
    for query in schema.queries_of(dialect):
        if (dialect, query.name) not in DIFFERENCES:
            faults += faults_of_query(trial, dialect, query)
    assert faults == []


def faults_of_query(trial: Trial, dialect: str, query: CorpusQuery) -> list[str]:
    """What is not as an expert would have it."""
    outcome, advised = query.outcome(dialect), trial.advised_for(query.name)
    faults = [
        f"{query.name}: not wanted is {index.table} {keys_of(index)}, {index.predicate}"
        for index in unwanted(outcome, advised)
    ]
    # What is advised for others may serve it: then it need not be named.
    if not is_met(outcome, advised) and not trial.halves(query.name):
        faults.append(
            f"{query.name}: {outcome.indexes} is lacking, advised: {trial.why(query.name)}"
        )
    return faults


def faults_of_indexes(trial: Trial, dialect: str) -> list[str]:
    """Advised indexes that no query uses, and queries that do not gain what was said."""
    faults = []
    for advice in trial.report.advice:
        named = [gain.fingerprint for gain in advice.gains]
        name = index_name(advice.create_sql)
        used = any(name in plan for query in named for plan in trial.after[query].plans)
        if not used and (dialect, name) not in SUPERFLUOUS:
            faults.append(f"{name} is not used by {named}")
        for query in named:
            if not trial.halves(query) and (dialect, query) not in UNCOUNTED:
                before, after = trial.before[query].amount, trial.after[query].amount
                faults.append(f"{query}: {before:.0f} -> {after:.0f} by {name}")
    return faults


def beginnings(trial: Trial, dialect: str) -> list[str]:
    """Advised indexes that another advised one makes needless."""
    indexes = [advice.definition for advice in trial.report.advice]
    return [
        f"{one.name} begins {other.name}"
        for one in indexes
        for other in indexes
        if one is not other
        and (dialect, one.name) not in BEGINNINGS
        and (one.table, one.predicate) == (other.table, other.predicate)
        and other.keys[: len(one.keys)] == one.keys
        and set(one.include) <= {*other.include, *other.columns}
    ]


def index_name(create_sql: str) -> str:
    return create_sql.replace(" CONCURRENTLY", "").split()[2]


def test_the_corpus_is_large_and_half_of_it_needs_no_index() -> None:
    queries = [query for schema in SCHEMAS for query in schema.queries]
    assert len({query.name for query in queries}) == len(queries)
    assert Counter(bool(query.expected) for query in queries) == {True: 85, False: 51}


@BY_SCHEMA
def test_every_query_runs_on_every_database(schema, db) -> None:
    engine = db.engine()
    generate(engine, schema, scale=0.005)
    with engine.connect() as connection:
        for query in schema.queries_of(engine.dialect.name):
            for values in query.values(schema.rows(0.005)):
                run(connection, query.said_to(engine.dialect.name), values)


@BY_SCHEMA
def test_rows_are_the_same_everywhere(schema, sqlite_database, postgresql_database) -> None:
    seen = []
    for database in (sqlite_database, postgresql_database):
        engine = database.engine()
        generate(engine, schema, scale=0.005, statistics=False)
        with engine.connect() as connection:
            tables = schema.metadata.sorted_tables
            seen.append([connection.execute(one.select().limit(50)).all() for one in tables])
    assert seen[0] == seen[1]


def test_views_are_made(sqlite_database) -> None:
    engine = sqlite_database.engine()
    generate(engine, SCHEMAS[0], scale=0.005)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM unshipped_orders")).scalar_one()
