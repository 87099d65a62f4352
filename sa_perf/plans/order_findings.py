"""Findings about sorts, temporary tables, spills and deep offsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sa_perf.dialects import PlanNode, TableFacts
from sa_perf.dialects.index_trials.definition import IndexKey
from sa_perf.finding import Finding
from sa_perf.plans.case import Case, Ranked, amount
from sa_perf.plans.reading import Block, OrderKey
from sa_perf.plans.remedies import covering_index, create_index, key_columns

__all__ = ["deep_offsets", "disk_use", "sorts", "temporary_tables"]

_READS = (
    "full_scan", "index_full_scan", "index_scan", "index_only_scan", "bitmap_scan", "key_lookup",
)  # fmt: skip
_PASSES_ON = ("gather", "filter", "materialize", "query", "limit", "lock_rows", "project")
_MAX_COVERED = 4
#: An OFFSET below this drops rows too few to matter.
_DEEP = 1_000


def sorts(case: Case) -> Iterable[Ranked]:
    """Many rows of one table sorted where an index could give them in order."""
    for node in case.plan.root.walk():
        if node.operation != "sort" or node.on_disk:
            continue
        read = _only_read(case, node)
        if read is None or not case.is_big(read):
            continue
        rows = _sorted_rows(case, node, read)
        block = case.block_of(read)
        if block is None or rows is None or rows < max(1, case.big) or not block.limited:
            continue
        remedy = _order_index(case, read, block)
        if remedy is None:
            continue
        yield (
            rows,
            Finding(
                kind="sort_without_index",
                severity=case.severity(rows),
                message=f"{amount(rows)} rows of {read.relation} are sorted to return the first "
                "of them: no index has them in this order.",
                remedy=remedy,
                place=f"table {read.relation}",
                evidence={"sorted_rows": rows, "columns": _names(block.order)},
            ),
        )


def temporary_tables(case: Case) -> Iterable[Ranked]:
    """Grouping or DISTINCT over a big table by way of a temporary table or tree."""
    for node in case.plan.root.walk():
        if node.operation not in ("group", "distinct", "materialize") or not node.temporary:
            continue
        read = _only_read(case, node)
        if read is None or read.operation not in ("full_scan", "index_full_scan"):
            continue
        block = case.block_of(read)
        rows = case.rows_of(read)
        if block is None or rows is None or not case.is_big(read):
            continue
        if block.sources != 1 or block.of(case.alias_of(read)):
            continue
        columns = _covered(block, case.alias_of(read))
        facts = case.facts_of(read.relation)
        if not columns or covering_index(facts, columns) is not None:
            continue
        remedy = create_index(case.dialect, facts, [IndexKey(column=name) for name in columns])
        if remedy is None:
            continue
        what = "grouped" if block.group else "made distinct"
        yield (
            rows / 2,
            Finding(
                kind="temporary_table",
                severity="info",
                message=f"{amount(rows)} rows of {read.relation} are {what} in a temporary table.",
                remedy=remedy,
                place=f"table {read.relation}",
                evidence={"table_rows": rows, "columns": ", ".join(columns)},
            ),
        )


def _covered(block: Block, alias: str) -> list[str]:
    """Columns for an index that gives the groups in order and spares the table.

    An index that lacks one of the columns would have the rows fetched one by one, which may well be
    slower than the temporary table.
    """
    keys = _keys(block.group, alias) if block.group else []
    if keys is None or block.columns is None or not (block.group or block.distinct):
        return []
    named = [key.column for key in keys if key.column is not None]
    rest = sorted(column for _, column in block.columns if column not in named)
    return [*named, *rest] if len(named) + len(rest) <= _MAX_COVERED else []


def disk_use(case: Case) -> Iterable[Ranked]:
    """Sorts and hashes that did not fit into memory; seen where the statement was run."""
    for node in case.plan.root.walk():
        if not node.on_disk:
            continue
        kilobytes = node.detail.get("Sort Space Used") or node.detail.get("Disk Usage")
        size = float(kilobytes) if isinstance(kilobytes, (int, float)) else None
        rows = _children_rows(node)
        if rows is not None and rows < case.big:
            continue
        read = _only_read(case, node)
        block = None if read is None else case.block_of(read)
        remedy = None
        # Without a LIMIT all rows are wanted, and to sort them is the quickest way.
        if read is not None and block is not None and node.operation == "sort" and block.limited:
            remedy = _order_index(case, read, block)
        if remedy is None and case.dialect.sort_memory_setting is not None:
            # In memory a sort takes two to three times its size on disk.
            megabytes = 64 if size is None else max(8, round(size * 3 / 1_024 + 0.5))
            remedy = case.dialect.sort_memory_setting.format(megabytes=megabytes)
        if remedy is None:
            remedy = "Sort fewer or shorter rows: select fewer columns, or add a LIMIT"
        where = "" if size is None else f" {size / 1_024:,.1f} MB"
        yield (
            rows or 0.0,
            Finding(
                kind="disk_sort" if node.operation == "sort" else "disk_hash",
                severity="warning",
                message=f"{node.label} did not fit into memory and wrote{where} to disk.",
                remedy=remedy,
                place=None if read is None else f"table {read.relation}",
                evidence={"disk_bytes": None if size is None else size * 1_024, "rows": rows},
            ),
        )


def deep_offsets(case: Case) -> Iterable[Ranked]:
    """OFFSETs that read rows only to drop them."""
    block = case.reading.outermost
    if block is None or not block.has_offset or not block.dropped_rows_at_least:
        return
    dropped = block.dropped_rows_at_least
    reads = [node for node in case.plan.root.walk() if node.relation and case.is_big(node)]
    if dropped < min(_DEEP, max(1, case.big)) or not reads:
        return
    read = reads[0]
    facts = case.facts_of(read.relation)
    columns = [key.column for key in block.order if key.column is not None]
    whole = len(columns) == len(block.order)
    primary = next((i for i in facts.indexes if i.primary), None) if facts else None
    unique = [name for name in primary.columns if name is not None] if primary else []
    keyset = [*columns, *(name for name in unique if name not in columns)]
    same = len({key.descending for key in block.order}) <= 1
    if not keyset or not whole:
        remedy = "Use keyset pagination: order by a unique key and continue after its last value"
    else:
        listed = ", ".join(case.dialect.quote(name) for name in keyset)
        sign = "<" if block.order and block.order[0].descending else ">"
        marks = ", ".join("?" for _ in keyset)
        condition = f"WHERE ({listed}) {sign} ({marks})" if same else f"a condition on ({listed})"
        if len(keyset) == 1:
            condition = f"WHERE {listed} {sign} ?"
        remedy = f"Use keyset pagination: {condition} with the last row's values, no OFFSET"
    yield (
        float(dropped),
        Finding(
            kind="deep_offset",
            severity=case.severity(dropped),
            message=f"OFFSET reads and drops at least {dropped:,} rows before it returns one.",
            remedy=remedy,
            place=f"table {read.relation}",
            evidence={"dropped_rows_at_least": dropped, "columns": ", ".join(keyset)},
        ),
    )


def _order_index(case: Case, read: PlanNode, block: Block) -> str | None:
    """An index that finds the rows and has them in order; None if one cannot do both."""
    keys = _keys(block.order, case.alias_of(read))
    facts = case.facts_of(read.relation)
    conditions = block.of(case.alias_of(read))
    if keys is None or facts is None or block.sources != 1 or block.aggregates or block.distinct:
        return None
    equal = [one for one in conditions if one.kind == "equal" and one.expression is None]
    if any(case.is_type_mismatch(one, read.relation) for one in equal):
        return None
    if len(equal) < len(conditions) and not block.limited:
        return None
    head = _without(key_columns(facts, equal), keys)
    columns = [*head, *(key.column or "" for key in keys)]
    if _has_order(facts, columns):
        return None
    # An index can be walked backwards, so only mixed directions need DESC.
    mixed = len({key.descending for key in keys}) > 1
    made = [IndexKey(column=key.column, descending=key.descending and mixed) for key in keys]
    return create_index(case.dialect, facts, [*(IndexKey(column=name) for name in head), *made])


def _keys(order: Sequence[OrderKey], alias: str) -> list[IndexKey] | None:
    """Keys of an index on one table; None if another table or an expression is among them."""
    if not order or any(key.table != alias or key.column is None for key in order):
        return None
    return [IndexKey(column=key.column, descending=key.descending) for key in order]


def _without(head: Sequence[str], keys: Sequence[IndexKey]) -> list[str]:
    ordered = {(key.column or "").casefold() for key in keys}
    return [name for name in head if name.casefold() not in ordered]


def _has_order(facts: TableFacts, columns: Sequence[str]) -> bool:
    wanted = [name.casefold() for name in columns]
    return any(
        [str(name).casefold() for name in index.columns[: len(wanted)]] == wanted
        for index in facts.indexes
    )


def _only_read(case: Case, node: PlanNode) -> PlanNode | None:
    """The one node that reads the rows of a sort; None if a join or a subquery feeds it."""
    # Some databases list a sort beside the scan that feeds it, not above.
    siblings = case.parents[id(node)].children if id(node) in case.parents else ()
    around = node.children or tuple(one for one in siblings if one is not node)
    while len(around) == 1 and around[0].operation in (*_PASSES_ON, "sort", "group"):
        around = around[0].children
    reads = [one for one in around if one.operation in _READS]
    others = [one for one in around if one.operation not in (*_READS, "sort", "group", "distinct")]
    return reads[0] if len(reads) == 1 and not others and not reads[0].children else None


def _sorted_rows(case: Case, node: PlanNode, read: PlanNode) -> float | None:
    measured = _children_rows(node)
    if measured is not None:
        return measured
    conditions = (case.block_of(read) or Block()).of(case.alias_of(read))
    if read.operation in ("full_scan", "index_full_scan") and not conditions:
        return case.rows_of(read)
    block = case.block_of(read)
    if block is not None and block.outermost and not block.limited and not block.aggregates:
        return None if case.rows_returned is None else float(case.rows_returned)
    return None


def _children_rows(node: PlanNode) -> float | None:
    if not node.children:
        return None
    child = node.children[0]
    found = child.actual_rows if child.actual_rows is not None else child.estimated_rows
    if found is None and child.operation in _PASSES_ON:
        return _children_rows(child)
    return found


def _names(order: Sequence[OrderKey]) -> str:
    return ", ".join(key.column or "(expression)" for key in order)
