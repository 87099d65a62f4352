"""What a plan costs where the planner would flatter an index. Pure.

Two guesses make indexes look better than they are. A walk along an index that stops at a LIMIT is
priced as if the rows that pass its filter were spread evenly; where there are fewer, it goes on to
the end. And of an expression without statistics ``=`` is supposed to pick one row in 200
(DEFAULT_NUM_DISTINCT in src/include/utils/selfuncs.h).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

__all__ = ["GUESSED_SHARE", "Correction", "corrected"]

#: What the planner supposes ``expression = value`` to pick.
GUESSED_SHARE = 1 / 200
#: How much longer than expected a walk may take that is known to find what it seeks.
_LONGER = 10.0
#: Descending a tree and reading one row, in the planner's unit.
_ONE_ROW = 20.0
_WALKING = frozenset(
    {
        "Append", "Gather Merge", "Group", "Hash Join", "Incremental Sort", "LockRows", "Memoize",
        "Merge Append", "Merge Join", "Nested Loop", "Result", "Subquery Scan", "Unique",
        "WindowAgg",
    }
)  # fmt: skip
_JOINS = frozenset({"Hash Join", "Merge Join", "Nested Loop"})

Node: TypeAlias = "Mapping[str, object]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A plan's cost, seen without illusions.

    Attributes:
        cost: of the whole plan.
        notes: what was corrected, as sentences.
    """

    cost: float
    notes: tuple[str, ...] = ()


def corrected(
    root: Node, tried: Collection[str], *, full: bool, share_of: Callable[[str], float | None]
) -> Correction:
    """The cost of a plan that uses tried indexes.

    Args:
        root: the plan's first node.
        tried: names of the indexes that do not exist.
        full: the outermost LIMIT is known to be reached.
        share_of: for the name of a tried index on an expression, the share of the rows that its
            expression's value has in common; None for any other index, or where the planner knows.
    """
    correction = Correction(cost=_number(root, "Total Cost"))
    correction = _without_early_end(root, tried, correction, full=full)
    return _with_shares(root, correction, share_of)


def _without_early_end(
    root: Node, tried: Collection[str], correction: Correction, *, full: bool
) -> Correction:
    for limit, outermost in _limits(root):
        below = _children(limit)[0]
        if not _may_walk_on(below, tried):
            continue
        cost, whole = _number(limit, "Total Cost"), _number(below, "Total Cost")
        worst = min(whole, _LONGER * cost) if full and outermost else whole
        if worst > cost:
            note = (
                "Rows may be found late: the walk along the index is supposed to take "
                f"{worst / cost:.0f} times what the planner expects."
            )
            correction = replace(
                correction,
                cost=correction.cost + worst - cost,
                notes=(*correction.notes, note),
            )
    return correction


def _with_shares(
    root: Node, correction: Correction, share_of: Callable[[str], float | None]
) -> Correction:
    """Put the shares of expressions' values in the place of the planner's guess."""
    for node, once in _index_nodes(root):
        share = share_of(str(node["Index Name"]))
        if share is None or "=" not in str(node.get("Index Cond", "")):
            continue
        factor = share / GUESSED_SHARE
        cost = _number(node, "Total Cost")
        if factor > 1.0:
            correction = replace(correction, cost=correction.cost * factor)
        elif once:
            saved = max(0.0, cost - (cost * factor + _ONE_ROW))
            correction = replace(correction, cost=max(correction.cost - saved, _ONE_ROW))
    return correction


def _limits(root: Node, *, outermost: bool = True) -> list[tuple[Node, bool]]:
    """Each LIMIT that has something below it, and whether none stands above."""
    found = []
    if root.get("Node Type") == "Limit" and _children(root):
        found.append((root, outermost))
        outermost = False
    if len(_children(root)) > 1:
        outermost = False
    for child in _children(root):
        found += _limits(child, outermost=outermost)
    return found


def _may_walk_on(node: Node, tried: Collection[str]) -> bool:
    """Whether rows come one by one along a tried index, and some of them are thrown away."""
    filtered = False
    waiting = [node]
    while waiting:
        node = waiting.pop()
        filtered = filtered or "Filter" in node or node.get("Node Type") in _JOINS
        if node.get("Index Name") in tried and node.get("Node Type") != "Bitmap Index Scan":
            if filtered:
                return True
        elif node.get("Node Type") in _WALKING:
            appended = node.get("Node Type") in ("Append", "Merge Append")
            waiting += _children(node) if appended else _children(node)[:1]
    return False


def _index_nodes(root: Node, *, once: bool = True) -> list[tuple[Node, bool]]:
    """The nodes that read an index with their rows, and whether they run once and to their end."""
    found = []
    kind = root.get("Node Type")
    if isinstance(root.get("Index Name"), str):
        found.append((root, once))
    children = _children(root)
    if kind == "Bitmap Heap Scan" and len(children) == 1 and "Index Name" in children[0]:
        # Its cost holds that of the index; the rows are what is dear.
        return [({**root, **{k: children[0].get(k) for k in ("Index Name", "Index Cond")}}, once)]
    for position, child in enumerate(children):
        inner = kind == "Limit" or (kind == "Nested Loop" and position > 0)
        found += _index_nodes(child, once=once and not inner)
    return found


def _children(node: Node) -> list[Node]:
    children = node.get("Plans")
    return [c for c in children if isinstance(c, Mapping)] if isinstance(children, list) else []


def _number(node: Node, name: str) -> float:
    value = node.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
