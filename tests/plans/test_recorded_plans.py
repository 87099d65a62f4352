from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sa_perf.dialects import OPERATIONS, Plan, PlanNode, dialect_for
from sa_perf.errors import ExplainError

KINDS = {
    "automatic_index", "cast_on_column", "collation_mismatch", "deep_offset", "disk_sort",
    "filter_after_scan", "full_scan", "function_on_column", "leading_wildcard", "many_rows",
    "nested_loop_scan", "not_in_nullable", "or_across_columns", "row_estimate",
    "sort_without_index", "temporary_table", "type_mismatch",
}  # fmt: skip


def test_each_database_has_forty_plans_from_a_server(plans_by_database) -> None:
    assert {name for name, plans in plans_by_database.items() if len(plans) >= 40} == {
        "mariadb",
        "postgresql",
        "sqlite",
    }


def test_a_recorded_plan_has_no_unknown_step(recorded) -> None:
    steps = [node for node in recorded.plan().root.walk() if node.operation == "unknown"]
    assert steps == []


def test_a_recorded_plan_names_its_tables(recorded) -> None:
    known = {one.name for one in recorded.facts.values()}
    named = {node.relation for node in recorded.plan().root.walk() if node.relation}
    assert named == known


def test_a_recorded_plan_makes_a_round_trip_through_json(recorded) -> None:
    plan = recorded.plan()
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_a_recorded_plan_loses_its_literals(recorded) -> None:
    values = recorded.content["parameters"] or {}
    values = values.values() if isinstance(values, dict) else values
    texts = [value for value in values if isinstance(value, str) and len(value) > 4]
    kept = json.dumps(recorded.plan().to_dict())
    assert [text for text in texts if text in kept] == []


def test_a_redacted_plan_has_the_same_shape(recorded) -> None:
    assert recorded.plan().shape_hash == recorded.plan(keep_literals=True).shape_hash


def test_a_recorded_plan_gives_the_findings_that_a_person_read(recorded) -> None:
    found = [
        {"kind": one.kind, "place": one.place, "remedy": one.remedy} for one in recorded.findings()
    ]
    assert found == recorded.content["expect"]


def test_findings_hold_no_bind_value(recorded) -> None:
    values = recorded.content["parameters"] or {}
    values = values.values() if isinstance(values, dict) else values
    texts = [str(value) for value in values if len(str(value)) > 4]
    words = json.dumps([[f.message, f.remedy, dict(f.evidence)] for f in recorded.findings()])
    assert [text for text in texts if text in words] == []


def test_where_all_tables_are_small_nothing_is_found(recorded) -> None:
    assert recorded.findings(big_table_rows=10**9, rows_returned=None) == []


def test_without_facts_no_index_is_named(recorded) -> None:
    assert [f for f in recorded.findings(facts={}) if "CREATE INDEX" in f.remedy] == []


def test_every_kind_of_finding_was_met_on_a_real_plan(plans_by_database) -> None:
    kinds = Counter(
        expected["kind"]
        for plans in plans_by_database.values()
        for one in plans
        for expected in one.content["expect"]
    )
    assert set(kinds) == KINDS


def test_a_documented_form_is_read(documented) -> None:
    steps = [node.operation for node in documented.plan().root.walk()]
    assert "unknown" not in steps


def test_a_documented_form_loses_its_literals(documented) -> None:
    kept = json.dumps(documented.plan().to_dict())
    assert "Roma" not in kept
    assert "secret" not in kept


def test_a_documented_form_says_where_it_comes_from(documented) -> None:
    assert documented.content["source"].startswith(("http", "written by hand after"))


@pytest.mark.parametrize("database", ["mariadb", "postgresql", "sqlite"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_mutated_plan_raises_nothing_but_an_explain_error(
    plans_by_database, database: str, data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(plans_by_database[database]))
    raw = mutated(one.content["raw"], data)
    try:
        root = one.dialect.parse_plan(raw)
    except ExplainError:
        return
    assert {node.operation for node in root.walk()} <= OPERATIONS
    assert PlanNode.from_dict(json.loads(json.dumps(root.to_dict()))) == root


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.just([]),
    st.just({}),
)


def mutated(raw: object, data: st.DataObject) -> object:
    """Change one to three places of a JSON value, or of SQLite's lines."""
    if isinstance(raw, str):
        lines = raw.splitlines()
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, max(0, len(lines) - 1)))
            lines[at : at + data.draw(st.integers(0, 1))] = [
                data.draw(st.one_of(st.text(max_size=40), st.sampled_from(lines or [""])))
            ]
        return "\n".join(lines)
    copied = copy.deepcopy(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(containers(copied))
        holder = data.draw(st.sampled_from(places)) if places else None
        if isinstance(holder, dict) and holder:
            holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(ATOMS)
        elif isinstance(holder, list) and holder:
            holder[data.draw(st.integers(0, len(holder) - 1))] = data.draw(ATOMS)
    return copied


def containers(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from containers(item)
    elif isinstance(value, list):
        yield value
        for item in value:
            yield from containers(item)


@pytest.mark.parametrize("database", ["mariadb", "mysql", "postgresql", "sqlite"])
@pytest.mark.parametrize(
    "raw", [None, 7, "", "x|y", "{", "[]", b"\xff", [], {}, [1], [{"Plan": 1}], {"query_block": []}]
)
def test_what_is_no_plan_is_refused(database: str, raw: object) -> None:
    if database == "sqlite" and raw in ("", []):
        return  # a statement with nothing to scan has an empty listing
    with pytest.raises(ExplainError):
        dialect_for(database).parse_plan(raw)


@pytest.mark.parametrize("database", ["mariadb", "postgresql", "sqlite"])
def test_a_plan_that_is_nested_without_end_is_refused(database: str) -> None:
    raw: object
    if database == "sqlite":
        raw = [(n, n - 1, 0, "SCAN t") for n in range(1, 500)]
    elif database == "postgresql":
        node: dict = {"Node Type": "Result"}
        for _ in range(500):
            node = {"Node Type": "Append", "Plans": [node]}
        raw = [{"Plan": node}]
    else:
        node = {}
        for _ in range(500):
            node = {"temporary_table": node}
        raw = {"query_block": node}
    with pytest.raises(ExplainError, match="deeper"):
        dialect_for(database).parse_plan(raw)
