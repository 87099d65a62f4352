from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.dialects import OPERATIONS, Plan, PlanNode
from sa_perf.errors import ExplainError

NUMBERS = st.one_of(st.none(), st.floats(min_value=0, max_value=1e15))
TEXTS = st.one_of(st.none(), st.text(max_size=10))


def nodes(children: st.SearchStrategy[PlanNode] | None) -> st.SearchStrategy[PlanNode]:
    return st.builds(
        PlanNode,
        operation=st.sampled_from(sorted(OPERATIONS)),
        label=st.text(max_size=10),
        relation=TEXTS,
        alias=TEXTS,
        index=TEXTS,
        index_condition=TEXTS,
        filter=TEXTS,
        sort_keys=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        estimated_rows=NUMBERS,
        examined_rows=NUMBERS,
        estimated_cost=NUMBERS,
        actual_rows=NUMBERS,
        loops=NUMBERS,
        rows_removed=NUMBERS,
        actual_seconds=NUMBERS,
        on_disk=st.booleans(),
        temporary=st.booleans(),
        detail=st.dictionaries(
            st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.integers(), st.text())
        ),
        children=st.just(()) if children is None else st.lists(children, max_size=2).map(tuple),
    )


TREES = st.recursive(nodes(None), nodes, max_leaves=5)


@given(root=TREES)
def test_a_tree_makes_an_exact_round_trip_through_json(root: PlanNode) -> None:
    assert PlanNode.from_dict(json.loads(json.dumps(root.to_dict()))) == root


@given(root=TREES, generic=st.booleans())
def test_a_plan_makes_an_exact_round_trip(root: PlanNode, generic: bool) -> None:
    plan = Plan(
        database="x", server_version="1", statement="s", root=root, raw="r", generic=generic
    )
    assert Plan.from_dict(plan.to_dict()) == plan


def test_defaults_are_left_out_of_the_dictionary() -> None:
    assert PlanNode(operation="sort", label="Sort").to_dict() == {
        "operation": "sort",
        "label": "Sort",
    }


def test_walking_meets_parents_before_children_in_order() -> None:
    leaf = [PlanNode(operation="values", label=str(n)) for n in range(4)]
    root = PlanNode(
        operation="query",
        label="root",
        children=(replace(leaf[0], children=(leaf[1],)), leaf[2], leaf[3]),
    )
    assert [node.label for node in root.walk()] == ["root", "0", "1", "2", "3"]


def plan(**changes: Any) -> Plan:
    node = PlanNode(operation="full_scan", label="Seq Scan", relation="flights")
    return Plan(
        database="x", server_version="1", statement="", root=replace(node, **changes), raw=""
    )


@pytest.mark.parametrize(
    "numbers",
    [{"estimated_rows": 7.0}, {"estimated_cost": 1.5}, {"actual_rows": 2.0}, {"filter": "a = ?"}],
)
def test_numbers_and_conditions_do_not_change_the_shape(numbers: dict) -> None:
    assert plan(**numbers).shape_hash == plan().shape_hash


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "index_scan"},
        {"relation": "planes"},
        {"index": "ix_flights"},
        {"children": (PlanNode(operation="sort", label="Sort"),)},
    ],
)
def test_what_is_done_and_read_changes_the_shape(change: dict) -> None:
    assert plan(**change).shape_hash != plan().shape_hash


def test_the_shape_is_the_same_in_every_process() -> None:
    assert plan().shape_hash == "9c81e0b989b62209"


def test_nesting_is_part_of_the_shape() -> None:
    one, two = (PlanNode(operation="sort", label=""), PlanNode(operation="limit", label=""))
    beside = PlanNode(operation="query", label="", children=(one, two))
    below = PlanNode(operation="query", label="", children=(replace(one, children=(two,)),))
    shapes = {plan(children=(root,)).shape_hash for root in (beside, below)}
    assert len(shapes) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "operation"),
        ({"operation": "fly", "label": "x"}, "no operation"),
        ({"operation": "sort", "label": 5}, "label"),
        ({"operation": "sort", "label": "x", "loops": "many"}, "loops"),
        ({"operation": "sort", "label": "x", "loops": True}, "loops"),
        ({"operation": "sort", "label": "x", "on_disk": 1}, "on_disk"),
        ({"operation": "sort", "label": "x", "children": 5}, "children"),
        ({"operation": "sort", "label": "x", "children": [5]}, "mapping"),
        ({"operation": "sort", "label": "x", "detail": [5]}, "detail"),
    ],
)
def test_what_is_no_node_is_refused_with_the_reason(data: dict, message: str) -> None:
    with pytest.raises(ExplainError, match=message):
        PlanNode.from_dict(data)


def test_a_plan_without_root_is_refused() -> None:
    with pytest.raises(ExplainError, match="root"):
        Plan.from_dict({"database": "x"})
