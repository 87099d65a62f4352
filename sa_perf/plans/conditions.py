"""Read one condition of a WHERE or ON: column, operator, wrapping."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sa_perf.dialects import Dialect
from sa_perf.plans.reading import Condition, ConditionKind, JoinPair, ValueKind
from sa_perf.plans.scope import Scope

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["ConditionReader", "values_by_name"]

_WILDCARDS = ("%", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionReader:
    """Reads the conditions of one block.

    Attributes:
        dialect: of the database.
        scope: of the block.
        values: bind values by the names that stand in the tree.
        keep_literals: show literals in expressions and constant conditions.
    """

    dialect: Dialect
    scope: Scope
    values: Mapping[str, object]
    keep_literals: bool = False

    def pair(self, part: exp.Expr) -> JoinPair | None:
        """The columns that a join holds equal; None if the condition is none of that.

        One of them may be of a subquery or a CTE.
        """
        from sqlglot import exp

        if not isinstance(part, (exp.EQ, exp.NullSafeEQ)):
            return None
        left, right = _bare(part.left), _bare(part.right)
        if not (isinstance(left, exp.Column) and isinstance(right, exp.Column)):
            return None
        (table, column), (other, other_column) = map(self._of_source, (left, right))
        if None in (table, column, other, other_column) or table == other:
            return None
        return JoinPair(
            table=str(table),
            column=str(column),
            other_table=str(other),
            other_column=str(other_column),
        )

    def _of_source(self, column: exp.Column) -> tuple[str | None, str | None]:
        found = self.scope.column(column)
        if found[0] is None and column.table.casefold() in self.scope.others:
            return column.table.casefold(), column.name
        return found

    def condition(self, part: exp.Expr) -> Condition:
        """Read a condition; what is not understood is of kind ``"other"``."""
        found = self._condition(_bare(part))
        return found if found.table is None else replace(found, constant=self._constant(part))

    def _condition(self, part: exp.Expr) -> Condition:
        from sqlglot import exp

        if isinstance(part, exp.Or):
            return self._either(part)
        if isinstance(part, exp.Not):
            return self._negated(_bare(part.this))
        if isinstance(part, (exp.EQ, exp.NullSafeEQ)):
            return self._compared(part, "equal")
        if isinstance(part, (exp.GT, exp.GTE, exp.LT, exp.LTE)):
            row = self._row_compared(part)
            return row if row is not None else self._compared(part, "range")
        if isinstance(part, exp.NEQ):
            return self._compared(part, "different")
        if isinstance(part, exp.Between):
            return self._about(part.this, [part.args.get("low"), part.args.get("high")], "range")
        if isinstance(part, exp.In):
            inner = part.args.get("query")
            kind: ConditionKind = "in" if inner is None else "in_query"
            return self._about(part.this, [] if inner is not None else part.expressions, kind)
        if isinstance(part, (exp.Like, exp.ILike)):
            return self._like(part, ignores_case=isinstance(part, exp.ILike))
        if isinstance(part, exp.Escape) and isinstance(part.this, (exp.Like, exp.ILike)):
            return self._like(part.this, ignores_case=isinstance(part.this, exp.ILike))
        if isinstance(part, exp.Is):
            return self._about(part.this, [], "null")
        return Condition(kind="other", table=self._only_table(part))

    def number(self, node: exp.Expr | None) -> float | None:
        """The number that a literal or a parameter stands for; None if it is not known."""
        from sqlglot import exp

        node = None if node is None else _uncast(node)
        value: object = None
        if isinstance(node, exp.Literal) and not node.is_string:
            value = node.this
        elif isinstance(node, exp.Placeholder):
            value = self.values.get(node.name)
        try:
            return float(value) if isinstance(value, (int, float, str)) else None
        except (ValueError, OverflowError):
            return None

    def _compared(self, part: exp.Expr, kind: ConditionKind) -> Condition:
        left, right = part.args["this"], part.args["expression"]
        condition = self._about(left, [right], kind)
        return condition if condition.column is not None else self._about(right, [left], kind)

    def _row_compared(self, part: exp.Expr) -> Condition | None:
        """``(a, b) > (?, ?)``: about the first column; None for anything else."""
        from sqlglot import exp

        left, right = _bare(part.args["this"]), _bare(part.args["expression"])
        if not isinstance(left, exp.Tuple) or not isinstance(right, exp.Tuple):
            return None
        first, columns = left.expressions[0], self._columns(*left.expressions)
        if self._columns(*right.expressions) or not isinstance(first, exp.Column):
            return None
        table, column = self.scope.column(first)
        if any(self.scope.column(one)[0] != table for one in columns):
            return None
        return Condition(kind="row_range", table=table, column=column)

    def _about(
        self, side: exp.Expr, others: Sequence[exp.Expr | None], kind: ConditionKind
    ) -> Condition:
        """A condition on the one column of ``side``, compared with what has no column."""
        from sqlglot import exp

        side = _bare(side)
        columns = self._columns(side)
        foreign = self._columns(*others)
        if len({(one.table, one.name) for one in columns}) != 1 or foreign:
            return Condition(kind="other", table=self._only_table(side, *others))
        if side.find(exp.Select) is not None:
            return Condition(kind="other")
        table, column = self.scope.column(columns[0])
        if table is None:
            return Condition(kind="other")
        text = None if isinstance(side, exp.Column) else self._text(side)
        return Condition(
            kind=kind,
            table=table,
            column=column,
            expression=text,
            function=None if text is None else _function(text),
            literals=text is not None and any(side.find_all(*self._left_out())),
            value=self._value_kind(others),
        )

    def _like(self, part: exp.Expr, *, ignores_case: bool) -> Condition:
        pattern = part.args["expression"]
        if part.args.get("negate"):
            # NOT LIKE, as newer versions of sqlglot have it; older ones put it below a Not.
            return Condition(kind="other", table=self._only_table(part))
        condition = self._about(part.args["this"], [pattern], "like")
        if condition.kind != "like":
            return condition
        return replace(
            condition, leading_wildcard=self._leads_wild(pattern), ignores_case=ignores_case
        )

    def _leads_wild(self, pattern: exp.Expr) -> bool | None:
        """Whether a pattern begins with a wildcard, as far as its first part tells."""
        from sqlglot import exp

        first = _uncast(pattern)
        while isinstance(first, (exp.DPipe, exp.Concat, exp.Lower, exp.Upper)):
            if isinstance(first, exp.Concat):
                first = _uncast(first.expressions[0])
            else:
                # The left of a || b; what lower() and upper() are called with.
                first = _uncast(first.this)
        if isinstance(first, exp.Literal):
            return str(first.this).startswith(_WILDCARDS)
        if isinstance(first, exp.Placeholder) and isinstance(self.values.get(first.name), str):
            return str(self.values[first.name]).startswith(_WILDCARDS)
        return None

    def _negated(self, inner: exp.Expr) -> Condition:
        from sqlglot import exp

        if isinstance(inner, exp.In) and inner.args.get("query") is not None:
            condition = self._about(inner.this, [], "not_in_query")
            query = inner.args["query"]
            given = self._given_column(query)
            narrowed = query.find(exp.Where) is not None
            if condition.kind != "not_in_query" or given is None:
                condition = Condition(kind="not_in_query")
            return replace(condition, query_column=given, query_narrowed=narrowed)
        return Condition(kind="other", table=self._only_table(inner))

    def _given_column(self, query: exp.Expr) -> tuple[str, str] | None:
        """Table and name of the only column that a subquery over one table gives."""
        from sqlglot import exp

        select = query.find(exp.Select)
        if select is None or len(select.expressions) != 1:
            return None
        column = select.expressions[0].unalias()
        origin = select.args.get("from_") or select.args.get("from")
        if not isinstance(column, exp.Column) or origin is None or select.args.get("joins"):
            return None
        table = origin.this
        where = select.args.get("where")
        if not isinstance(table, exp.Table):
            return None
        for one in where.find_all(exp.Not) if where is not None else []:
            # WHERE column IS NOT NULL: the remedy is already there.
            if isinstance(one.this, exp.Is) and column.name in [
                c.name for c in one.find_all(exp.Column)
            ]:
                return None
        return table.name, column.name

    def _either(self, part: exp.Expr) -> Condition:
        from sqlglot import exp

        branches, parts = [part], []
        while branches:
            one = _bare(branches.pop(0))
            if isinstance(one, exp.Or):
                branches[:0] = [one.left, one.right]
            else:
                parts.append(self.condition(one))
        tables = {one.table for one in parts}
        table = tables.pop() if len(tables) == 1 else None
        named = {column.name for column in self._columns(part)} if table is not None else ()
        return Condition(kind="or", table=table, parts=tuple(parts), columns=frozenset(named))

    def _columns(self, *parts: exp.Expr | None) -> list[exp.Column]:
        """The columns that may be this block's; one of the block around it counts as a constant."""
        from sqlglot import exp

        return [
            column
            for part in parts
            if part is not None
            for column in part.find_all(exp.Column)
            if not (self.scope.whole and column.table and not self.scope.has(column.table))
        ]

    def _only_table(self, *parts: exp.Expr | None) -> str | None:

        found = {self.scope.column(column)[0] for column in self._columns(*parts)}
        return found.pop() if len(found) == 1 else None

    def _text(self, node: exp.Expr) -> str:
        """An expression without literals and without the table's name."""
        from sqlglot import exp

        copy = node.copy()
        for column in list(copy.find_all(exp.Column)):
            column.set("table", None)
        text = copy.sql(dialect=self.dialect.sqlglot_name)
        if self.keep_literals and copy.find(exp.Placeholder) is None:
            return text
        text = self.dialect.lexer.rewrite(text, "pyformat", lambda key: "?")
        return self.dialect.lexer.rewrite(self.dialect.lexer.redact(text), "named", lambda key: "?")

    def _left_out(self) -> tuple[type[exp.Expr], ...]:
        """What an expression may hold that its text does not show."""
        from sqlglot import exp

        return (exp.Placeholder,) if self.keep_literals else (exp.Literal, exp.Placeholder)

    def _constant(self, part: exp.Expr) -> str | None:
        """A condition that is alike in each call, in plain comparisons; None of any other."""
        from sqlglot import exp

        plain = (
            exp.And, exp.Or, exp.Not, exp.Paren, exp.Is, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT,
            exp.LTE, exp.In, exp.Between, exp.Column, exp.Identifier, exp.Null, exp.Boolean,
        )  # fmt: skip
        kept = (exp.Literal, exp.Neg) if self.keep_literals else ()
        if not all(isinstance(node, (*plain, *kept)) for node in part.walk()):
            return None
        if any(self.scope.column(one)[0] is None for one in part.find_all(exp.Column)):
            return None  # of the block around it
        return self._text(_bare(part))

    def _value_kind(self, others: Sequence[exp.Expr | None]) -> ValueKind:
        from sqlglot import exp

        kinds: set[ValueKind] = set()
        for other in others:
            node = None if other is None else _bare(other)
            if isinstance(node, exp.Cast):
                kinds.add("number" if node.is_type(*_NUMERIC_TYPES) else "other")
            elif isinstance(node, exp.Literal):
                kinds.add("text" if node.is_string else "number")
            elif isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
                kinds.add("number")
            elif isinstance(node, exp.Placeholder):
                kinds.add(_kind_of(self.values.get(node.name)))
            else:
                kinds.add("unknown")
        return kinds.pop() if len(kinds) == 1 else "unknown"


_NUMERIC_TYPES = ("int", "bigint", "smallint", "decimal", "double", "float")


def values_by_name(
    names: Mapping[str | int, str], values: Mapping[str, object] | Sequence[object] | None
) -> dict[str, object]:
    """Bind values by the name that each placeholder got.

    Args:
        names: the driver's key of each -> its name.
        values: one set of them; None if they are not known.
    """
    found: dict[str, object] = {}
    for key, name in names.items():
        if isinstance(values, Mapping):
            found[name] = values.get(str(key))
        elif values is not None and isinstance(key, int) and key < len(values):
            found[name] = values[key]
    return found


def _bare(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _uncast(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    while isinstance(node, (exp.Paren, exp.Cast)):
        node = node.this
    return node


def _function(text: str) -> str:
    match = re.match(r"(\w+)\s*\(", text)
    return match.group(1).upper() if match else "EXPRESSION"


def _kind_of(value: object) -> ValueKind:
    if value is None or isinstance(value, bool):
        return "unknown"
    if isinstance(value, (int, float, decimal.Decimal)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "other" if isinstance(value, (datetime.date, bytes)) else "unknown"
