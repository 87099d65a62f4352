"""Read a statement with sqlglot into a `Reading`.

What sqlglot cannot read, or what is not clear without guessing, is left out: the findings then say
less. Parsing costs about 1 ms a kilobyte, so this runs in the worker's thread only.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from sa_perf.dialects import Dialect, TableFacts
from sa_perf.dialects.parsing import quiet_sqlglot
from sa_perf.dialects.statement import first_parameters
from sa_perf.plans.conditions import ConditionReader, values_by_name
from sa_perf.plans.reading import Block, JoinPair, OrderKey, Reading
from sa_perf.plans.scope import Scope

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["read"]

_LOGGER = logging.getLogger("sa_perf")
_MAX_PARSED = 20_000


def read(
    statement: str,
    *,
    dialect: Dialect,
    facts: Mapping[str, TableFacts],
    parameters: object = None,
    shape: bool = False,
    keep_literals: bool = False,
) -> Reading:
    """Read a statement; of one that cannot be read, an empty reading.

    Args:
        statement: as it goes to the driver.
        dialect: of the database and its driver.
        facts: columns by table, to tell whose an unqualified column is.
        parameters: as they go to the driver; only their types, the first character of patterns
            and the size of an OFFSET are looked at.
        shape: ``?`` may stand for a literal, whatever the driver's placeholders are.
        keep_literals: keep them in the texts of the reading.
    """
    tree, values = _parsed(statement, dialect, parameters, shape=shape)
    if tree is None:
        return Reading()
    names = _facts_by_table(facts)

    def reader(scope: Scope) -> ConditionReader:
        return ConditionReader(
            dialect=dialect, scope=scope, values=values, keep_literals=keep_literals
        )

    try:
        return Reading(blocks=tuple(_blocks(tree, names, reader)))
    except (RecursionError, AttributeError, TypeError, ValueError):
        # A tree of a form that this sqlglot has and we do not know.
        _LOGGER.debug("a statement could not be read", exc_info=True)
        return Reading()


def _parsed(
    statement: str, dialect: Dialect, parameters: object, *, shape: bool
) -> tuple[exp.Expr | None, dict[str, object]]:
    if len(statement) > _MAX_PARSED:
        return None, {}
    import sqlglot
    from sqlglot.errors import SqlglotError

    names: dict[str | int, str] = {}

    def named(key: str | int) -> str:
        return f":{names.setdefault(key, f'p{len(names)}')}"

    text = dialect.lexer.rewrite(statement, dialect.paramstyle, named)
    if shape and dialect.paramstyle != "qmark":
        text = dialect.lexer.rewrite(text, "qmark", lambda key: f":literal{key}")
    try:
        with quiet_sqlglot():
            trees = sqlglot.parse(text, read=dialect.sqlglot_name)
    except (SqlglotError, RecursionError):
        return None, {}
    if len(trees) != 1 or trees[0] is None:
        return None, {}
    return trees[0], values_by_name(names, first_parameters(parameters))


def _blocks(
    tree: exp.Expr,
    facts: Mapping[str, TableFacts],
    reader_of: Callable[[Scope], ConditionReader],
) -> Iterable[Block]:
    from sqlglot import exp

    common = {cte.alias.casefold() for cte in tree.find_all(exp.CTE) if cte.alias}
    for node in tree.find_all(exp.Select, exp.Update, exp.Delete, bfs=False):
        sources = _sources(node)
        tables = {
            (source.alias or source.name).casefold(): source.name
            for source in sources
            if isinstance(source, exp.Table)
            and source.name
            and not (source.name.casefold() in common and not source.db)
        }
        scope = Scope(
            tables=tables,
            facts=facts,
            whole=len(tables) == len(sources),
            others=frozenset(
                name
                for source in sources
                if source.alias_or_name and (name := source.alias_or_name.casefold()) not in tables
            ),
        )
        yield _block(node, reader_of(scope), outermost=node is tree, sources=len(sources))


def _block(node: exp.Expr, reader: ConditionReader, *, outermost: bool, sources: int) -> Block:
    from sqlglot import exp

    conditions, pairs = [], []
    for part in _parts(node):
        pair = reader.pair(part)
        if pair is not None:
            pairs.append(pair)
        else:
            conditions.append(reader.condition(part))
    for using in _using(node, reader.scope):
        pairs.append(using)
    offset = node.args.get("offset")
    own = list(_own(node))
    return Block(
        tables=reader.scope.tables,
        outermost=outermost,
        sources=sources,
        conditions=tuple(conditions),
        joins=(*pairs, *map(_mirrored, pairs)),
        order=_keys(node.args.get("order"), reader.scope),
        group=_keys(node.args.get("group"), reader.scope),
        extremes=tuple(_extremes(own, reader.scope)),
        limited=node.args.get("limit") is not None or node.args.get("fetch") is not None,
        dropped_rows_at_least=0 if offset is None else _magnitude(reader.number(offset.expression)),
        has_offset=offset is not None,
        aggregates=node.args.get("group") is not None
        or any(isinstance(one, (exp.AggFunc, exp.Window)) for one in own),
        distinct=node.args.get("distinct") is not None,
        correlated=_is_correlated(own, reader.scope),
        query=isinstance(node, exp.Select),
        columns=_columns(own, reader.scope, {one.alias for one in node.expressions if one.alias}),
    )


def _mirrored(pair: JoinPair) -> JoinPair:
    return JoinPair(
        table=pair.other_table,
        column=pair.other_column,
        other_table=pair.table,
        other_column=pair.column,
    )


def _sources(node: exp.Expr) -> list[exp.Expr]:
    """What stands in FROM and its joins, or what is updated or deleted from."""
    from sqlglot import exp

    found: list[exp.Expr] = []
    if isinstance(node, (exp.Update, exp.Delete)) and node.this is not None:
        found.append(node.this)
    origin = node.args.get("from_") or node.args.get("from")
    if origin is not None:
        found += [origin.this, *origin.expressions]
        found += [join.this for join in origin.this.args.get("joins") or []]
    for name in ("using", "tables"):
        listed = node.args.get(name)
        found += listed if isinstance(listed, list) else []
    found += [join.this for join in node.args.get("joins") or []]
    return [one for one in found if one is not None]


def _parts(node: exp.Expr) -> list[exp.Expr]:
    """What AND joins in WHERE and in the ON of inner joins."""
    from sqlglot import exp

    roots = [where.this for where in [node.args.get("where")] if where is not None]
    joined = list(node.args.get("joins") or [])
    for source in _sources(node):
        joined += source.args.get("joins") or []
    roots += [join.args["on"] for join in joined if join.args.get("on") is not None]
    parts: list[exp.Expr] = []
    while roots:
        one = roots.pop(0)
        if isinstance(one, exp.Paren):
            roots.insert(0, one.this)
        elif isinstance(one, exp.And):
            roots[:0] = [one.left, one.right]
        else:
            parts.append(one)
    return parts


def _using(node: exp.Expr, scope: Scope) -> list[JoinPair]:
    """Pairs of ``JOIN ... USING (column)``, where exactly two tables are joined."""
    names = [
        name.name for join in node.args.get("joins") or [] for name in join.args.get("using") or []
    ]
    if len(scope.tables) != 2 or not scope.whole:
        return []
    one, other = scope.tables
    return [
        JoinPair(table=one, column=name, other_table=other, other_column=name) for name in names
    ]


def _keys(clause: exp.Expr | None, scope: Scope) -> tuple[OrderKey, ...]:
    from sqlglot import exp

    keys = []
    for item in clause.expressions if clause is not None else []:
        ordered = item.this if isinstance(item, exp.Ordered) else item
        table, column = scope.column(ordered) if isinstance(ordered, exp.Column) else (None, None)
        descending = isinstance(item, exp.Ordered) and bool(item.args.get("desc"))
        keys.append(OrderKey(table=table, column=column, descending=descending))
    return tuple(keys)


def _extremes(own: Iterable[exp.Expr], scope: Scope) -> Iterable[OrderKey]:
    from sqlglot import exp

    for one in own:
        if isinstance(one, (exp.Min, exp.Max)) and isinstance(one.this, exp.Column):
            table, column = scope.column(one.this)
            yield OrderKey(table=table, column=column)


def _own(node: exp.Expr) -> Iterable[exp.Expr]:
    """All below a block that belongs to no block inside of it."""
    from sqlglot import exp

    waiting = [child for child in node.iter_expressions()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (exp.Select, exp.With)):
            continue
        yield one
        waiting.extend(one.iter_expressions())


def _columns(
    own: Iterable[exp.Expr], scope: Scope, labels: set[str]
) -> frozenset[tuple[str, str]] | None:
    from sqlglot import exp

    found = set()
    for one in own:
        if isinstance(one, exp.Star) and not isinstance(one.parent, exp.Count):
            return None
        # ORDER BY may name a label of the select list.
        if isinstance(one, exp.Column) and not (one.name in labels and not one.table):
            table, column = scope.column(one)
            if table is None or column is None or isinstance(one.this, exp.Star):
                return None
            found.add((table, column))
    return frozenset(found)


def _is_correlated(own: Iterable[exp.Expr], scope: Scope) -> bool:
    from sqlglot import exp

    named = {one.table.casefold() for one in own if isinstance(one, exp.Column) and one.table}
    return scope.whole and bool(named - set(scope.tables))


def _magnitude(number: float | None) -> int | None:
    """The power of ten at or below a number, which tells its size and not the number."""
    if number is None:
        return None
    return 0 if number < 1 else 10 ** int(math.log10(number))


def _facts_by_table(facts: Mapping[str, TableFacts]) -> dict[str, TableFacts]:
    return {one.name.casefold(): one for one in facts.values()}
