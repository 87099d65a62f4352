"""A pager's statements for one database: made once, sent for every page."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Integer, Row, Select, bindparam
from sqlalchemy.exc import DataError, DBAPIError, StatementError

from sa_perf.dialects.seeking import Seeking, seeking_for
from sa_perf.errors import InvalidCursor, PaginationError
from sa_perf.pagination.cursors import payload
from sa_perf.pagination.cursors.payload import Anchor
from sa_perf.pagination.cursors.signer import CursorSigner
from sa_perf.pagination.ordering.binding import binding_of
from sa_perf.pagination.ordering.clauses import has_entities
from sa_perf.pagination.ordering.froms import bare, groups
from sa_perf.pagination.ordering.keys import SortKey, ordering_of
from sa_perf.pagination.ordering.uniqueness import require_once
from sa_perf.pagination.seek import Segment, first_page, order_by, page_after, parameter_name

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

    from sa_perf.pagination.sessions import Source

__all__ = ["LIMIT", "Prepared", "Values"]

#: Values of a row's sort keys.
Values: TypeAlias = tuple[object, ...]

#: Name of the bind parameter for the number of rows.
LIMIT = "sa_perf_limit"


class Prepared:
    """The statements of a pager for one database, made when first needed."""

    def __init__(
        self,
        stmt: Select[Any],
        dialect: SQLAlchemyDialect,
        signer: CursorSigner | None,
        scope: Sequence[object],
        *,
        orm: bool,
        unique: bool,
    ) -> None:
        self.seeking: Seeking = seeking_for(dialect)
        self.keys = ordering_of(stmt, self.seeking, dialect, unique=unique)
        self._reversed = tuple(key.reversed() for key in self.keys)
        self._kinds = tuple(key.value.kind for key in self.keys)
        self._given_signer = signer
        #: The order in words that are alike for each pager of it.
        self.order = binding_of(stmt, self.keys, dialect.name)
        self._binding = _bound(self.order, scope)
        self._stmt = stmt
        self._objects = orm and has_entities(stmt)
        self._having = _needs_having(stmt, self.keys)
        self._base, self._positions, self._hidden = _with_values(
            stmt if orm else bare(stmt), self.keys
        )
        #: SQLAlchemy's description of all columns, and of those that the application sees.
        self._shown_columns: tuple[Any, Any] | None = None
        self._statements: dict[object, list[Select[Any]]] = {}

    def require_keys(self) -> None:
        """Refuse to make pages without keys at once, not only where a page has a neighbour.

        Raises:
            PaginationError: no signer was given, and the environment has no keys.
        """
        _ = self._signer

    @cached_property
    def _signer(self) -> CursorSigner:
        return self._given_signer or CursorSigner.from_environment()

    def anchor(self, cursor: str | None, before: str | None) -> Anchor | None:
        """Read a cursor; None where none is given.

        Raises:
            InvalidCursor: see `KeysetPager.page`.
            PaginationError: two are given.
        """
        if cursor is not None and before is not None:
            raise PaginationError("give either a cursor or before=, not both")
        token = cursor if before is None else before
        if token is None:
            return None
        anchor = payload.loads(self._signer.unsign(token, self._binding), self._kinds)
        if before is not None and not anchor.backwards:
            return Anchor(anchor.values, backwards=True, tied=anchor.tied)
        return anchor

    def token(self, anchor: Anchor) -> str:
        """The cursor for an anchor."""
        return self._signer.sign(payload.dumps(anchor, self._kinds), self._binding)

    def fetch(
        self, session: Source, anchor: Anchor | None, wanted: int, *, backwards: bool
    ) -> tuple[list[Any], list[Any]]:
        """Read rows from an anchor on, itself included, until there are as many as wanted.

        Returns:
            items as the application gets them, and as many raw rows, for `values`.

        Raises:
            InvalidCursor: the database cannot make anything of an unsigned cursor's values.
        """
        items: list[Any] = []
        rows: list[Any] = []
        parameters: dict[str, object] = {}
        if anchor is not None:
            parameters = {parameter_name(at): one for at, one in enumerate(anchor.values)}
        try:
            for statement in self._segments(anchor, backwards=backwards):
                parameters[LIMIT] = wanted - len(items)
                result: Any = session.execute(statement, parameters)
                # Joined loads of collections give several rows an object; SQLAlchemy says so.
                if self._objects and result._unique_filter_state is not None and self._once:
                    result = result.unique()
                self._take(result, items, rows)
                if len(items) >= wanted:
                    break
        except StatementError as error:
            # A forged value; what else a database complains of is not the cursor's fault.
            forged = isinstance(error, DataError) or not isinstance(error, DBAPIError)
            given = self._given_signer
            if anchor is None or given is None or given.signed or not forged:
                raise
            raise InvalidCursor from None
        return items, rows

    def values(self, row: Any) -> Values:  # noqa: ANN401
        """The sort values of a raw row."""
        return tuple([row[at] for at in self._positions])

    @cached_property
    def _once(self) -> bool:
        require_once(self._stmt)
        return True

    def _take(self, result: Any, items: list[Any], rows: list[Any]) -> None:  # noqa: ANN401
        """Add the rows of a result, and what of them the application sees."""
        found = result.all()
        if found:
            width = len(found[0]) - self._hidden
            if width == 1:
                items += [row[0] for row in found]
            else:
                items += self._shown(found, width) if self._hidden else found
        rows += found

    def _shown(self, rows: list[Any], width: int) -> list[Any]:
        """Rows without the columns that were added; still found by name, column and attribute.

        What ``Result.columns()`` does, without a second result: that took a third of a page's time.
        """
        whole = rows[0]._parent
        if self._shown_columns is None or self._shown_columns[0] is not whole:
            self._shown_columns = (whole, whole._reduce(range(width)))
        shown = self._shown_columns[1]
        places = shown._key_to_index
        return [Row(shown, None, places, row._data[:width]) for row in rows]

    def _segments(self, anchor: Anchor | None, *, backwards: bool) -> list[Select[Any]]:
        nulls = None if anchor is None else tuple(one is None for one in anchor.values)
        tied = anchor is not None and anchor.tied
        key = (backwards, nulls, tied)
        statements = self._statements.get(key)
        if statements is None:
            statements = [one for _, one in self.stretches(anchor, backwards=backwards)]
            self._statements[key] = statements
        return statements

    def stretches(
        self, anchor: Anchor | None, *, backwards: bool
    ) -> list[tuple[Segment, Select[Any]]]:
        """The statements that a page from an anchor on may need, with what each stands for."""
        keys = self._reversed if backwards else self.keys
        if anchor is None:
            segments = first_page(keys, self.seeking)
        else:
            nulls = tuple(one is None for one in anchor.values)
            segments = page_after(keys, nulls, self.seeking, tied=anchor.tied)
        return [(segment, self._statement(segment)) for segment in segments]

    def _statement(self, segment: Segment) -> Select[Any]:
        stmt = self._base
        if segment.conditions:
            stmt = (stmt.having if self._having else stmt.where)(*segment.conditions)
        if segment.keys:
            stmt = stmt.order_by(*order_by(segment.keys, self.seeking))
        return stmt.limit(bindparam(LIMIT, type_=Integer))


def _needs_having(stmt: Select[Any], keys: Sequence[SortKey]) -> bool:
    """Whether a condition on the keys can only be asked of groups: WHERE would read fewer rows."""
    grouped = groups(stmt)
    return bool(grouped) and not all(
        any(isinstance(group, ColumnElement) and key.expression.compare(group) for group in grouped)
        for key in keys
    )


def _with_values(
    stmt: Select[Any], keys: Sequence[SortKey]
) -> tuple[Select[Any], tuple[int, ...], int]:
    """The statement without ORDER BY, with the sort values that its rows do not hold.

    Returns:
        statement, place of each key's value in a row, number of columns that were added.
    """
    added = []
    for index, key in enumerate(keys):
        if key.position is None:
            read = key.value.read or (lambda expression: expression)
            added.append(read(key.expression).label(f"sa_perf_sort_{index}"))
    positions = []
    place = -len(added)
    for key in keys:
        if key.position is None:
            positions.append(place)
            place += 1
        else:
            positions.append(key.position)
    base = stmt.order_by(None)
    return (base.add_columns(*added) if added else base), tuple(positions), len(added)


def _bound(binding: str, scope: Sequence[object]) -> bytes:
    """What a cursor is bound to, in 16 bytes."""
    return hashlib.blake2b(f"{binding}\n{tuple(scope)!r}".encode(), digest_size=16).digest()
