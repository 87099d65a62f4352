"""Snapshots: their JSON form, its damage, their files."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timezone
from types import UnionType
from typing import Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

import sa_perf
from sa_perf import Snapshot
from sa_perf.dialects import PlanNode
from sa_perf.errors import InvalidSnapshot
from sa_perf.histogram import BUCKETS, Histogram
from sa_perf.queries.aggregate import QueryStats
from sa_perf.snapshot import SCHEMA, Database

# Snapshots of any content

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc))
histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1 << 40), max_size=5).map(
    lambda counts: Histogram.from_items(sorted(counts.items()))
)
scalars = {
    int: st.integers(0, 1 << 60),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=20),
    bool: st.booleans(),
    type(None): st.none(),
    datetime: moments,
    Histogram: histograms,
    object: st.text(max_size=5),
}


@functools.cache
def of(hint: object) -> st.SearchStrategy:
    """Anything that a type hint of a snapshot's field allows."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in scalars:
        return scalars[hint]
    if origin in {Union, UnionType}:
        return st.one_of([of(one) for one in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(st.text(max_size=8), of(arguments[1]), max_size=3)
    assert is_dataclass(hint), hint
    if hint is PlanNode:
        leaves = st.builds(PlanNode, **_parts(PlanNode, children=st.just(())))
        return st.recursive(
            leaves,
            lambda nodes: st.builds(
                PlanNode, **_parts(PlanNode, children=st.lists(nodes, max_size=2).map(tuple))
            ),
            max_leaves=3,
        )
    return st.builds(hint, **_parts(hint))


def _parts(kind: type, **given: st.SearchStrategy) -> dict[str, st.SearchStrategy]:
    hints = typing.get_type_hints(kind)
    return {
        one.name: given[one.name] if one.name in given else of(hints[one.name])
        for one in fields(kind)
    }


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
@given(st.deferred(lambda: of(Snapshot)))
def test_any_snapshot_survives_its_json_form(snapshot: Snapshot) -> None:
    assert Snapshot.from_dict(snapshot.to_dict()) == snapshot
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


# A real one


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """What a small application has left, with something in every part."""
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, slow_seconds=0, service="shop", big_table_rows=0)
    with sa_perf.scope("GET /"), engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER, b TEXT)"))
        connection.execute(text("INSERT INTO t VALUES (:a, :b)"), [{"a": 1, "b": "x"}] * 3)
        for _ in range(5):
            connection.execute(text("SELECT * FROM t WHERE b = 'x' ORDER BY b")).all()
    perf.wait_for_plans(30)
    found = perf.snapshot()
    perf.uninstall()
    engine.dispose()
    assert found.health.faults == 0
    return found


def paths(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON document."""
    found = [path] if path else []
    if isinstance(data, dict):
        found += [one for key, value in data.items() for one in paths(value, (*path, key))]
    if isinstance(data, list):
        found += [one for at, value in enumerate(data[:2]) for one in paths(value, (*path, at))]
    return found


def changed(data: object, path: tuple[str | int, ...], value: object) -> object:
    """A copy of a document with another value at a place; `...` takes it away."""
    copy = json.loads(json.dumps(data))
    parent = functools.reduce(lambda at, key: at[key], path[:-1], copy)
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return copy


def test_a_real_snapshot_has_every_part(snapshot) -> None:
    for part in ("databases", "queries", "scopes", "slow", "plans", "repeats"):
        assert getattr(snapshot, part), part


def test_a_real_snapshot_survives_its_json_form(snapshot) -> None:
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.to_json() == snapshot.to_json()


def test_a_plan_says_on_which_database_its_statement_ran(snapshot) -> None:
    (database,) = snapshot.databases
    assert {one.database for one in snapshot.plans} == {database.label}


def test_a_plan_without_a_database_as_older_versions_wrote_it_is_read(snapshot) -> None:
    older = changed(snapshot.to_dict(), ("plans", 0, "database"), ...)
    assert Snapshot.from_dict(older).plans[0].database is None


def test_the_reading_of_one_database_leaves_the_others_out(tmp_path) -> None:
    engines = [create_engine(f"sqlite:///{tmp_path / name}") for name in ("a.db", "b.db")]
    perf = sa_perf.install(engines[0], slow_seconds=0, big_table_rows=0)
    other = sa_perf.install(engines[1], slow_seconds=0, big_table_rows=0)
    for engine in engines:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (a INTEGER, b TEXT)"))
            connection.execute(text("INSERT INTO t VALUES (1, 'x')"))
            connection.execute(text("SELECT * FROM t WHERE b = 'x'")).all()
        with sa_perf.scope("GET /"), engine.connect() as connection:
            for _ in range(5):
                connection.execute(text("SELECT a FROM t")).all()
    perf.wait_for_plans(30)
    other.wait_for_plans(30)
    one, two = perf.snapshot(), other.snapshot()
    perf.uninstall()
    other.uninstall()
    for engine in engines:
        engine.dispose()
    both = replace(
        one,
        **{
            name: getattr(one, name) + getattr(two, name)
            for name in ("databases", "queries", "slow", "plans", "repeats", "findings")
        },
    )
    (label,) = [database.label for database in two.databases]
    found = both.of_database(label)
    assert {"full_scan", "same_select"} <= {one.kind for one in found.findings}
    for name in ("databases", "queries", "slow", "plans", "repeats", "findings"):
        assert getattr(found, name) == getattr(two, name), name


def test_derived_figures_stand_in_the_json_form(snapshot) -> None:
    query = snapshot.to_dict()["queries"][0]
    for name in ("mean_seconds", "stddev_seconds", "p50_seconds", "p95_seconds", "p99_seconds"):
        assert query[name] == getattr(snapshot.queries[0], name)
    assert snapshot.to_dict()["schema"] == SCHEMA == 1


def test_the_json_form_fits_the_published_schema(snapshot, request) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    file = request.config.rootpath / "docs" / "reference" / "snapshot.schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(snapshot.to_dict(), schema)


def test_a_field_that_is_altered_is_refused_or_read_but_never_crashes(snapshot) -> None:
    data = snapshot.to_dict()
    refused = 0
    for path in paths(data):
        for value in (None, 5, -1, "x", [], {}, True, [[]], ...):
            if value is ... and isinstance(path[-1], int):
                continue
            try:
                Snapshot.from_dict(changed(data, path, value))
            except InvalidSnapshot as error:
                refused += 1
                names = [name for name in path if isinstance(name, str)]
                assert "snapshot" in str(error)
                if names[0] != "schema":
                    assert names[0] in str(error), (path, value)
    assert refused > 500


@pytest.mark.parametrize("name", ["taken_at", "started_at", "host", "pid", "slow_seconds"])
def test_a_missing_field_is_named(snapshot, name: str) -> None:
    damaged = changed(snapshot.to_dict(), (name,), ...)
    with pytest.raises(InvalidSnapshot, match=rf"damaged snapshot: Snapshot\.{name} is missing"):
        Snapshot.from_dict(damaged)


def test_the_place_of_a_damage_is_told(snapshot) -> None:
    damaged = changed(snapshot.to_dict(), ("queries", 1, "calls"), "many")
    with pytest.raises(InvalidSnapshot, match=r"Snapshot\.queries\[1\]\.calls is 'many', not int"):
        Snapshot.from_dict(damaged)


def test_a_newer_schema_is_refused_with_what_to_do(snapshot) -> None:
    with pytest.raises(InvalidSnapshot, match=r"schema 2, .* reads up to 1; upgrade with: pip"):
        Snapshot.from_dict({**snapshot.to_dict(), "schema": 2})


def test_fields_of_a_later_version_are_skipped(snapshot) -> None:
    data = changed(snapshot.to_dict(), ("queries", 0, "invented"), {"a": 1})
    assert Snapshot.from_dict({**data, "later": 1}) == snapshot


@pytest.mark.parametrize(
    "other",
    [
        *("", "{", "[]", "null", "5", '"x"', "{}", '{"schema": "1"}', '{"schema": true}', "\x00"),
        *("[" * 100_000, '{"schema": 1}', b"\xff\xfe\x00", b"\x80abc"),
    ],
    ids=range(14),
)
def test_something_that_is_no_snapshot_is_refused(other) -> None:
    with pytest.raises(InvalidSnapshot):
        Snapshot.from_json(other)


def test_a_plan_that_is_nested_beyond_all_bounds_is_refused(snapshot) -> None:
    node: dict[str, object] = {}
    for _ in range(900):
        node = {"operation": "scan", "label": "x", "children": [node]}
    data = changed(snapshot.to_dict(), ("plans", 0, "plan"), {"root": node})
    with pytest.raises(InvalidSnapshot):
        Snapshot.from_dict(data)


def test_lone_surrogates_survive_a_file(snapshot, tmp_path) -> None:
    odd = replace(snapshot, service="a\ud800b", host="\udcff\x00ä€🙂")
    odd.write(tmp_path / "x.json")
    assert Snapshot.read(tmp_path / "x.json") == odd
    assert Snapshot.from_json(odd.to_json()) == odd


# Files


def test_a_file_is_read_back(snapshot, tmp_path) -> None:
    snapshot.write(str(tmp_path / "x.json"))
    assert Snapshot.read(tmp_path / "x.json") == snapshot


def test_a_file_is_replaced_whole_or_not_at_all(snapshot, tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.json"
    snapshot.write(path)

    def fail(self: Snapshot) -> str:
        raise RuntimeError

    monkeypatch.setattr(Snapshot, "to_json", fail)
    with pytest.raises(RuntimeError):
        snapshot.write(path)
    monkeypatch.undo()
    assert Snapshot.read(path) == snapshot
    assert os.listdir(tmp_path) == ["x.json"]


def test_several_threads_may_write_one_file(snapshot, tmp_path) -> None:
    path, barrier = tmp_path / "x.json", threading.Barrier(8)
    failures: list[BaseException] = []

    def write() -> None:
        barrier.wait()
        try:
            for _ in range(20):
                snapshot.write(path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Snapshot.read(path) == snapshot
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(snapshot, tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        snapshot.write(tmp_path / "missing" / "x.json")
    with pytest.raises(FileNotFoundError):
        Snapshot.read(tmp_path / "x.json")
    assert os.listdir(tmp_path) == []


# Questions to a snapshot


def query(fingerprint: str, **figures: float) -> QueryStats:
    values: dict[str, object] = {
        one.name: 0 for one in fields(QueryStats) if one.name not in {"histogram", "last_error"}
    }
    now = datetime.now(timezone.utc)
    values |= {"fingerprint": fingerprint, "statement": "s", "database": "d", "kind": "select"}
    values |= {"first_seen": now, "last_seen": now, "histogram": Histogram()}
    return QueryStats(**{**values, **figures})


@pytest.fixture
def three() -> Snapshot:
    """Three queries, each the first in something else."""
    now = datetime.now(timezone.utc)
    queries = (
        query("aa11", calls=9, total_seconds=1.0, errors=1),
        query("bb22", calls=1, total_seconds=3.0, max_seconds=3.0, min_seconds=3.0),
        query("bb33", calls=2, total_seconds=2.0, rows=70, fetch_seconds=0.5),
    )
    databases = (Database(label="d", dialect="x", driver="y", capture="z"),)
    return Snapshot(
        taken_at=now, started_at=now, host="h", pid=1, slow_seconds=1, queries=queries,
        databases=databases,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("total_seconds", "bb22"),
        ("mean_seconds", "bb22"),
        ("max_seconds", "bb22"),
        ("p95_seconds", "bb22"),
        ("calls", "aa11"),
        ("errors", "aa11"),
        ("rows", "bb33"),
        ("fetch_seconds", "bb33"),
    ],
)
def test_the_highest_comes_first(three, by: str, first: str) -> None:
    assert three.top_queries(1, by=by)[0].fingerprint == first


def test_no_more_than_the_limit_come(three) -> None:
    assert [len(three.top_queries(limit)) for limit in (-1, 0, 2, 3, 99)] == [0, 0, 2, 3, 3]


def test_an_order_that_is_none_is_refused_with_those_that_are(three) -> None:
    with pytest.raises(ValueError, match="cannot order by 'name'; orders are: total_seconds, "):
        three.top_queries(by="name")


def test_a_query_is_found_by_the_beginning_of_its_fingerprint(three) -> None:
    assert three.query("aa").fingerprint == "aa11"
    assert three.query("bb").fingerprint == "bb22"
    assert three.query("cc") is None
    assert three.plan("aa") is None


def test_sums_are_over_all_queries(three) -> None:
    assert (three.calls, three.errors, three.total_seconds) == (12, 1, 6.0)


def test_the_advice_of_a_database_survives_the_json_form(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    perf = sa_perf.install(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INT)")
        rows = [(n, n * 7919 % 900) for n in range(50_000)]
        connection.exec_driver_sql("INSERT INTO orders VALUES (?, ?)", rows)
    with engine.connect() as connection:
        for sql in ("SELECT * FROM orders WHERE customer_id = 77", "SELECT * FROM gone"):
            with contextlib.suppress(DBAPIError):
                connection.exec_driver_sql(sql).all()
    try:
        (report,) = perf.advise()
        taken = perf.snapshot()
    finally:
        perf.uninstall()
        engine.dispose()
    assert [one.definition.columns for one in report.advice] == [("customer_id",)]
    assert report.advice[0].gains[0].plan_after is not None
    assert len(report.unadvised) == 1
    assert taken.advice == (report,)
    assert Snapshot.from_json(taken.to_json()).advice == (report,)
    assert taken.of_database(report.database).advice == (report,)
    assert taken.of_database("another").advice == ()
    assert "= 77" not in json.dumps(taken.to_dict()["advice"])


def test_a_workload_holds_calls_times_and_rows_of_one_database(snapshot) -> None:
    label = snapshot.databases[0].label
    (first, second) = snapshot.queries[:2]
    other = replace(first, database="other", fingerprint="other-database")
    evicted = replace(first, fingerprint="other")
    never = replace(second, fingerprint="never", calls=0)
    one = replace(snapshot, queries=(first, second, other, evicted, never))
    found = one.workload(label)
    assert [each.fingerprint for each in found] == [first.fingerprint, second.fingerprint]
    assert (found[0].statement, found[0].calls) == (first.statement, first.calls)
    assert found[0].mean_seconds == first.mean_seconds
    assert found[0].mean_rows == first.rows / first.calls
    assert [each.fingerprint for each in one.workload("other")] == ["other-database"]
    assert len(one.workload()) == 3
    assert one.workload("nowhere") == ()
