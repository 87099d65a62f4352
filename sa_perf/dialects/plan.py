"""One neutral tree for the plans of every database.

`PlanNode` is a step of a plan in words that all databases share, `Plan` the tree with where it came
from. Both are frozen and make an exact round trip through plain dictionaries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeAlias, get_args

from sa_perf.errors import ExplainError

__all__ = ["OPERATIONS", "Detail", "Operation", "Plan", "PlanNode"]

#: What a node does. Scans first: they read a relation.
Operation: TypeAlias = Literal[
    "full_scan",  # every row of a table
    "index_full_scan",  # every entry of an index, in its order
    "index_scan",  # the entries of an index that a condition selects, then their rows
    "index_only_scan",  # the same, answered from the index alone
    "key_lookup",  # one row by its key
    "bitmap_scan",  # rows found through one or more indexes, read in table order
    "automatic_index",  # an index built for this one statement
    "virtual_scan",  # a virtual or foreign table
    "function_scan",
    "values",
    "cte_scan",
    "subquery_scan",
    # Joins
    "nested_loop",
    "hash_join",
    "merge_join",
    # What is done with rows
    "filter",
    "sort",
    "aggregate",
    "group",
    "distinct",
    "window",
    "limit",
    "append",
    "set_operation",
    "recursive_union",
    "materialize",
    "memoize",
    "hash",
    "bitmap_index",
    "bloom_filter",
    "gather",
    "project",
    "lock_rows",
    "subquery",
    "query",
    "result",
    # Writes
    "insert",
    "update",
    "delete",
    "merge",
    "unknown",
]
OPERATIONS: frozenset[str] = frozenset(get_args(Operation))
Detail: TypeAlias = Mapping[str, str | int | float | bool | None]

_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNode:
    """One step of a plan and the steps that feed it.

    Rows are counted for one run of the node (one loop), as every database reports them.

    Attributes:
        operation: what it does, in the words of `Operation`.
        label: what the database calls it.
        relation: table that is read or written; None where the node has none, or where the
            database names an alias that stands for several tables.
        alias: name of the relation within the statement, where it differs.
        index: index that is used.
        index_condition: condition that the index answers, in the database's words.
        filter: condition that is tested row by row after reading.
        sort_keys: expressions that are sorted by, most significant first.
        estimated_rows: rows that the planner expects to leave the node, >= 0.
        examined_rows: rows that the planner expects to read for them, where the database says.
        estimated_cost: cost in the database's own unit, >= 0; not comparable between databases.
        actual_rows: rows that left the node, where the statement was run.
        loops: how often the node ran, where the statement was run.
        rows_removed: rows that `filter` threw away, where the statement was run.
        actual_seconds: time within the node and below it, over all loops, where it was run.
        on_disk: it wrote to disk because memory was too small.
        temporary: it built a temporary table or tree.
        detail: what else the database said, by the database's names.
        children: the nodes that feed it, in the order in which they are run.
    """

    operation: Operation
    label: str
    relation: str | None = None
    alias: str | None = None
    index: str | None = None
    index_condition: str | None = None
    filter: str | None = None
    sort_keys: tuple[str, ...] = ()
    estimated_rows: float | None = None
    examined_rows: float | None = None
    estimated_cost: float | None = None
    actual_rows: float | None = None
    loops: float | None = None
    rows_removed: float | None = None
    actual_seconds: float | None = None
    on_disk: bool = False
    temporary: bool = False
    detail: Detail = field(default_factory=dict, hash=False)
    children: tuple[PlanNode, ...] = ()

    def walk(self) -> Iterator[PlanNode]:
        """Yield this node and all below it, parents before children."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def to_dict(self) -> dict[str, object]:
        """Plain values, without what stands at its default; `from_dict` reads them."""
        result: dict[str, object] = {"operation": self.operation, "label": self.label}
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value is not None and value is not False and value != () and value != {}:
                result[name] = value
        if self.sort_keys:
            result["sort_keys"] = list(self.sort_keys)
        if self.detail:
            result["detail"] = dict(self.detail)
        if self.children:
            result["children"] = [child.to_dict() for child in self.children]
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> PlanNode:
        """Read what `to_dict` wrote.

        Raises:
            ExplainError: it is no such dictionary.
        """
        return _node_from(data, 0)

    def redacted(self, redact: Callable[[str], str]) -> PlanNode:
        """The same tree with ``redact`` applied to every text that may hold a literal."""
        return replace(
            self,
            label=redact(self.label),
            index_condition=None if self.index_condition is None else redact(self.index_condition),
            filter=None if self.filter is None else redact(self.filter),
            sort_keys=tuple(redact(key) for key in self.sort_keys),
            detail={
                name: redact(value) if isinstance(value, str) else value
                for name, value in self.detail.items()
            },
            children=tuple(child.redacted(redact) for child in self.children),
        )


_TEXTS = {"relation", "alias", "index", "index_condition", "filter"}
_NUMBERS = {
    "estimated_rows", "examined_rows", "estimated_cost", "actual_rows", "loops", "rows_removed",
    "actual_seconds",
}  # fmt: skip
_FLAGS = {"on_disk", "temporary"}
_OPTIONAL = [field.name for field in fields(PlanNode) if field.name in _TEXTS | _NUMBERS | _FLAGS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a database runs, or ran, one statement.

    Attributes:
        database: ``Dialect.name`` of the database that gave it.
        server_version: as the server words it.
        statement: text that was explained; literals as ``?`` unless they were asked for.
        root: the tree.
        raw: what the database answered; literals as ``?`` unless they were asked for.
        generic: planned without the values of the parameters.
        analyzed: the statement was run, so the nodes hold actual numbers.
    """

    database: str
    server_version: str
    statement: str
    root: PlanNode
    raw: str
    generic: bool = False
    analyzed: bool = False

    @property
    def shape_hash(self) -> str:
        """Id of what the plan does: operations, relations and indexes, but no numbers.

        Equal for equal shapes in every process; 16 hexadecimal digits.
        """
        digest = hashlib.blake2b(digest_size=8)
        _add_shape(digest.update, self.root)
        return digest.hexdigest()

    def to_dict(self) -> dict[str, object]:
        """Plain values that JSON can hold; `from_dict` reads them."""
        return {
            "database": self.database,
            "server_version": self.server_version,
            "statement": self.statement,
            "generic": self.generic,
            "analyzed": self.analyzed,
            "shape_hash": self.shape_hash,
            "root": self.root.to_dict(),
            "raw": self.raw,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Plan:
        """Read what `to_dict` wrote.

        Raises:
            ExplainError: it is no such dictionary.
        """
        root = data.get("root")
        if not isinstance(root, Mapping):
            raise ExplainError(f"a plan needs a 'root', got {type(root).__name__}")
        return cls(
            database=_text(data, "database"),
            server_version=_text(data, "server_version"),
            statement=_text(data, "statement"),
            root=PlanNode.from_dict(root),
            raw=_text(data, "raw"),
            generic=data.get("generic") is True,
            analyzed=data.get("analyzed") is True,
        )


def _add_shape(update: Callable[[bytes], None], node: PlanNode) -> None:
    parts = (node.operation, node.relation or "", node.alias or "", node.index or "")
    update("\x1f".join(parts).encode("utf-8", "backslashreplace"))
    update(b"\x1d")
    for child in node.children:
        _add_shape(update, child)
    update(b"\x1e")


def _node_from(data: object, depth: int) -> PlanNode:
    if not isinstance(data, Mapping):
        raise ExplainError(f"a plan's node is a mapping, got {type(data).__name__}")
    if depth > _MAX_DEPTH:
        raise ExplainError(f"the plan is nested deeper than {_MAX_DEPTH} nodes")
    operation = _text(data, "operation")
    if operation not in OPERATIONS:
        raise ExplainError(f"{operation!r} is no operation; known are: {sorted(OPERATIONS)}")
    return PlanNode(
        operation=operation,  # type: ignore[arg-type]  # checked above
        label=_text(data, "label"),
        sort_keys=tuple(str(key) for key in _items(data, "sort_keys")),
        detail=_detail(data.get("detail")),
        children=tuple(_node_from(child, depth + 1) for child in _items(data, "children")),
        **_plain(data),  # type: ignore[arg-type]  # each is checked by its name
    )


def _plain(data: Mapping[str, object]) -> dict[str, object]:
    result: dict[str, object] = {}
    for name in _OPTIONAL:
        value = data.get(name)
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = (
            isinstance(value, str)
            if name in _TEXTS
            else number
            if name in _NUMBERS
            else isinstance(value, bool)
        )
        if not fits:
            raise ExplainError(f"{name!r} of a plan's node cannot be {value!r}")
        result[name] = value
    return result


def _text(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ExplainError(f"{name!r} of a plan is a text, got {type(value).__name__}")
    return value


def _items(data: Mapping[str, object], name: str) -> list[object]:
    value = data.get(name, [])
    if not isinstance(value, (list, tuple)):
        raise ExplainError(f"{name!r} of a plan is a list, got {type(value).__name__}")
    return list(value)


def _detail(value: object) -> dict[str, str | int | float | bool | None]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ExplainError(f"'detail' of a plan is a mapping, got {type(value).__name__}")
    return {
        str(name): item if item is None or isinstance(item, (str, int, float)) else str(item)
        for name, item in value.items()
    }
