"""docs/reference/snapshot.schema.json: what it allows, and that it names every field."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sa_perf.cli.top import KINDS
from sa_perf.dialects import OPERATIONS
from sa_perf.histogram import BUCKETS
from sa_perf.queries.fingerprint import kind_of
from sa_perf.snapshot import SCHEMA, Snapshot

PATH = Path(__file__).parents[2] / "docs" / "reference" / "snapshot.schema.json"
CONTRACT = json.loads(PATH.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(CONTRACT)


def dataclasses_below(kind: type, seen: dict[str, type] | None = None) -> dict[str, type]:
    """A dataclass and all that stand in its fields, by name."""
    seen = {} if seen is None else seen
    if is_dataclass(kind) and kind.__name__ not in seen:
        seen[kind.__name__] = kind
        for hint in typing.get_type_hints(kind).values():
            dataclasses_below(hint, seen)
    for argument in typing.get_args(kind):
        dataclasses_below(argument, seen)
    return seen


CLASSES = dataclasses_below(Snapshot)


def definition(name: str) -> dict[str, typing.Any]:
    """The part of the contract for a class."""
    return CONTRACT if name == "Snapshot" else CONTRACT["$defs"][name]


def test_the_contract_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(CONTRACT)
    assert CONTRACT["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_is_in_the_contract(name: str) -> None:
    described = definition(name)["properties"]
    known = {one.name for one in fields(CLASSES[name])}
    assert known <= set(described)
    derived = set(described) - known - {"schema"}
    assert all(isinstance(getattr(CLASSES[name], one), property) for one in derived)
    assert all(described[one].get("description") for one in described)


def test_the_contract_defines_nothing_else() -> None:
    assert set(CONTRACT["$defs"]) == set(CLASSES) - {"Snapshot"} | {"Histogram"}


def test_words_are_those_of_the_code() -> None:
    assert set(definition("PlanNode")["properties"]["operation"]["enum"]) == OPERATIONS
    assert set(definition("QueryStats")["properties"]["kind"]["enum"]) == set(KINDS)
    index = definition("Histogram")["items"]["prefixItems"][0]
    assert index["maximum"] == BUCKETS - 1


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a", "INSERT INTO t VALUES (?)",
        "UPDATE t SET a",
        "DELETE FROM t", "CREATE TABLE t (a)", "COMMIT", "CALL p()", "PRAGMA x", "EXPLAIN SELECT 1",
        "VALUES (1)", "REPLACE INTO t VALUES (1)", "MERGE INTO t", "SET x = 1", "", "gibberish",
    ],
)  # fmt: skip
def test_every_kind_of_statement_is_in_the_contract(statement: str) -> None:
    assert kind_of(statement) in KINDS


@pytest.mark.parametrize("fixture", ["snapshot", "empty", "recorded"])
def test_a_snapshot_keeps_to_the_contract(fixture: str, request: pytest.FixtureRequest) -> None:
    data = json.loads(request.getfixturevalue(fixture).to_json())
    assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(data)] == []
    assert list(_undeclared(data, CONTRACT, "$")) == []


def _undeclared(data: object, schema: dict[str, typing.Any], place: str) -> Iterator[str]:
    """Fields that are written but not in the contract."""
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "$ref" in schema:
        schema = definition(schema["$ref"].rpartition("/")[2])
    if isinstance(data, list) and isinstance(schema.get("items"), dict):
        for at, item in enumerate(data):
            yield from _undeclared(item, schema["items"], f"{place}[{at}]")
    if isinstance(data, dict) and "properties" in schema:
        for name, value in data.items():
            if name not in schema["properties"]:
                yield f"{place}.{name}"
            else:
                yield from _undeclared(value, schema["properties"][name], f"{place}.{name}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), 2),
        (("taken_at",), "yesterday"),
        (("pid",), -1),
        (("slow_seconds",), "0.2"),
        (("queries", 0, "calls"), -1),
        (("queries", 0, "calls"), 1.5),
        (("queries", 0, "fingerprint"), "xyz"),
        (("queries", 0, "kind"), "selct"),
        (("queries", 0, "histogram"), [[BUCKETS, 1]]),
        (("queries", 0, "histogram"), [[1, 0]]),
        (("queries", 0, "histogram"), [[1]]),
        (("findings", 0, "severity"), "fatal"),
        (("plans", 0, "plan", "root", "children", 0, "operation"), "dance"),
        (("slow", 0, "call_site", "line"), "42"),
        (("databases", 0, "plans", "alive"), 1),
    ],
)
def test_what_is_no_snapshot_breaks_the_contract(
    snapshot: Snapshot, place: tuple[typing.Any, ...], value: object
) -> None:
    data = json.loads(snapshot.to_json())
    inner = data
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize("name", sorted(CONTRACT["required"]))
def test_a_missing_field_breaks_the_contract(snapshot: Snapshot, name: str) -> None:
    data = json.loads(snapshot.to_json())
    del data[name]
    assert not VALIDATOR.is_valid(data)


def test_a_field_that_a_later_version_adds_does_not(snapshot: Snapshot) -> None:
    data = json.loads(snapshot.to_json())
    data["waits"] = data["queries"][0]["wait_seconds"] = 1
    assert VALIDATOR.is_valid(data)
