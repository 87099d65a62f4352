"""How many rows a statement gives: exactly, up to a limit, or about.

An exact count reads every row that the statement selects. A capped one stops at its limit; where
rows are many, its cost is bounded, where few match a condition that no index serves, the table is
read to its end all the same. An estimate asks the database's statistics and reads no row.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy import (
    Alias,
    Connection,
    Select,
    TextualSelect,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import LoaderCriteriaOption, QueryableAttribute, Session
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.selectable import TableClause

from sa_perf.dialects.row_estimates import row_estimates_for
from sa_perf.errors import PaginationError, SaPerfError
from sa_perf.pagination.ordering.froms import bare

if TYPE_CHECKING:
    from sqlalchemy import CompoundSelect, Result
    from sqlalchemy.orm import Mapper
    from sqlalchemy.sql.selectable import FromClause, SelectBase

    from sa_perf.pagination.sessions import Source

__all__ = [
    "Capped",
    "Count",
    "CountKind",
    "How",
    "Statement",
    "checked_how",
    "count",
    "criteria_of",
    "key_of",
    "one_of_each",
    "without_eager_joins",
]

Statement: TypeAlias = "Select[Any] | CompoundSelect[Any] | TextualSelect"
CountKind: TypeAlias = Literal["exact", "capped", "estimated"]

_CAP = 10_000
_WORDS = ("none", "exact", "capped", "estimated")
#: Options of a statement that are about how its rows are fetched.
_FETCHING = frozenset({"yield_per", "stream_results", "max_row_buffer"})


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows, and what it is worth.

    Its text is ``"1,234"``, ``"10,000+"`` or ``"about 1,200,000"``.

    Attributes:
        value: rows; of a capped count its limit, which there are more of.
        kind: exact; capped: counting stopped at the limit; estimated: from statistics.
    """

    value: int
    kind: CountKind = "exact"

    def __str__(self) -> str:
        if self.kind == "estimated":
            return f"about {_rounded(self.value):,}"
        return f"{self.value:,}{'+' if self.kind == 'capped' else ''}"

    def to_dict(self) -> dict[str, object]:
        """Value, kind and text."""
        return {"value": self.value, "kind": self.kind, "text": str(self)}


@dataclass(frozen=True, slots=True)
class Capped:
    """Count up to a limit.

    Attributes:
        limit: rows, >= 1.
    """

    limit: int = _CAP


#: How to count: not at all, every row, up to 10,000 or another limit, by statistics.
How: TypeAlias = "Literal['none', 'exact', 'capped', 'estimated'] | Capped"


def checked_how(how: object) -> How:
    """Give back how to count.

    Raises:
        PaginationError: it is none of the ways; names them.
    """
    if isinstance(how, Capped):
        if isinstance(how.limit, bool) or not isinstance(how.limit, int) or how.limit < 1:
            raise PaginationError(f"Capped({how.limit!r}): a limit is a whole number from 1 on")
        return how
    if how not in _WORDS:
        words = ", ".join(map(repr, _WORDS))
        raise PaginationError(f"count is {how!r}; choose one of {words} or Capped(limit)")
    return how  # type: ignore[return-value]  # one of the words


def count(source: Source, stmt: Statement, how: How | str = "exact") -> Count | None:
    """Count the rows of a statement, its own LIMIT, DISTINCT and GROUP BY included.

    ORDER BY, FOR UPDATE and loader options are left out. Sends one statement; an estimate one to
    three more in the worst case. The session is flushed first, as before any query, if it is set
    to do so.

    Args:
        source: a Session, scoped_session or Connection.
        stmt: a SELECT, a UNION of some, or a text with columns.
        how: ``"exact"``; ``"capped"``: up to 10,000, or up to the limit of a `Capped`;
            ``"estimated"``: by statistics, where the database has some that tell, and by a capped
            count where it has none or a whole table is smaller than 10,000 rows; ``"none"``.

    Returns:
        The count, whose kind says what it is; None for ``"none"``.

    Raises:
        PaginationError: ``how`` is none of these.
    """
    wanted = checked_how(how)
    if wanted == "none":
        return None
    counting = _Counting(source, stmt)
    if wanted == "exact":
        return Count(counting.all_rows())
    if wanted == "estimated":
        return counting.estimate() or counting.up_to(_CAP)
    return counting.up_to(wanted.limit if isinstance(wanted, Capped) else _CAP)


def criteria_of(stmt: Statement) -> list[LoaderCriteriaOption]:
    """The options of a statement that choose rows; the others say how to load objects."""
    return [option for option in stmt._with_options if isinstance(option, LoaderCriteriaOption)]


class _Counting:
    """The rows of one statement in one session or connection."""

    def __init__(self, source: Source, stmt: Statement) -> None:
        self._source = source
        self._stmt = stmt
        self._rows = _without_order(stmt)
        self._options = {
            name: value
            for name, value in stmt.get_execution_options().items()
            if name not in _FETCHING
        }
        mapper = _mapper_of(stmt)
        #: By which a session finds its engine: the count itself names tables only.
        self._bind_arguments: dict[str, Any] = {} if mapper is None else {"mapper": mapper}
        self._flush()

    def all_rows(self) -> int:
        """Every row is read."""
        return self._counted(self._rows.subquery("sa_perf_counted"))

    def up_to(self, limit: int) -> Count:
        """At most one row more than the limit is counted."""
        rows = self._rows
        if not isinstance(rows, Select) or rows._has_row_limiting_clause:
            inner = rows.subquery("sa_perf_limited")
            rows = select(literal_column("1")).select_from(inner)
        found = self._counted(rows.limit(limit + 1).subquery("sa_perf_counted"))
        return Count(limit, "capped") if found > limit else Count(found)

    def estimate(self) -> Count | None:
        """By statistics; None where there are none, they fail, or a small table is soon counted."""
        whole = self._whole_table()
        found: float | None = None
        # Whatever is wrong with statistics, a page can do without them.
        with suppress(SQLAlchemyError, SaPerfError):
            connection = self._connection()
            estimates = row_estimates_for(connection.dialect)
            counted = self._rows.subquery("sa_perf_counted")
            with estimates.contained(connection):
                found = estimates.rows(self._execute, counted, whole)
        if found is None or (whole is not None and found < _CAP):
            return None
        return Count(round(found), "estimated")

    def _counted(self, counted: FromClause) -> int:
        found: int = self._execute(select(func.count()).select_from(counted)).scalar_one()
        return found

    def _execute(self, stmt: Select[Any]) -> Result[Any]:
        stmt = stmt.options(*criteria_of(self._stmt)).execution_options(**self._options)
        if isinstance(self._source, Connection):
            return self._source.execute(stmt)
        return self._source.execute(stmt, bind_arguments=self._bind_arguments)

    def _connection(self) -> Connection:
        if isinstance(self._source, Connection):
            return self._source
        arguments = {"clause": self._stmt, **self._bind_arguments}
        return self._source.connection(bind_arguments=arguments)

    def _flush(self) -> None:
        if not isinstance(self._source, Connection) and self._source.autoflush:
            self._source.flush()

    def _whole_table(self) -> FromClause | None:
        """The table of which the statement gives each row once; None where it is not so simple."""
        stmt = self._stmt
        if not isinstance(stmt, Select) or self._selects_some(stmt):
            return None
        mapper = _mapper_of(stmt)
        froms = without_eager_joins(stmt).get_final_froms()
        if len(froms) != 1 or (mapper is not None and mapper.single):
            return None
        found: Any = froms[0]
        while isinstance(found, Alias):
            found = found.element
        return found if isinstance(found, TableClause) and one_of_each(stmt) else None

    def _selects_some(self, stmt: Select[Any]) -> bool:
        """Whether anything may keep rows out, or make several one."""
        # Listeners may add a condition of their own, e.g. a tenant's.
        session = None if isinstance(self._source, Connection) else _session(self._source)
        return bool(
            stmt._where_criteria
            or stmt._group_by_clauses
            or stmt._having_criteria
            or stmt._distinct
            or stmt._has_row_limiting_clause
            or criteria_of(stmt)
            or (session is not None and session.dispatch.do_orm_execute)
        )


def without_eager_joins(stmt: Select[Any]) -> Select[Any]:
    """The statement with columns in place of mapped classes, to see what its own FROMs are.

    Relationships that are ``lazy="joined"`` by default would add theirs. It is not to be run: the
    criteria of options and of subclasses in one table are those of mapped classes.
    """
    return bare(stmt).with_only_columns(*stmt.selected_columns)


def _session(source: Any) -> Session:  # noqa: ANN401  # Session or scoped_session
    session: Session = source if isinstance(source, Session) else source()
    return session


def _mapper_of(stmt: Statement) -> Mapper[Any] | None:
    """The mapper by which a session would choose the engine; None for a Core statement."""
    subject = stmt._propagate_attrs.get("plugin_subject")
    return getattr(subject, "mapper", None)


def _without_order(stmt: Statement) -> SelectBase:
    """The same rows, narrow and in no order."""
    if isinstance(stmt, Select):
        stmt = bare(stmt)._generate()
        stmt._for_update_arg = None  # counting should lock nothing
        if not (stmt._distinct or stmt._group_by_clauses or stmt._having_criteria):
            columns = one_of_each(stmt)
            stmt = stmt.with_only_columns(*columns) if columns else stmt
    if isinstance(stmt, TextualSelect) or stmt._fetch_clause is not None:
        return stmt  # FETCH FIRST ... WITH TIES gives other rows without its order
    return stmt.order_by(None)


def one_of_each(stmt: Select[Any]) -> list[Any]:
    """One column of each table or entity selected; none where more than columns is selected.

    What else is selected may make rows one (aggregates) or many (functions that return sets).
    """
    found: dict[int, Any] = {}
    for described in bare(stmt).column_descriptions:
        entity, selected = described.get("entity"), described["expr"]
        if entity is not None and selected is entity:
            selected = key_of(entity)
        owner = _owner(selected)
        if owner is None:
            return []
        found.setdefault(id(owner if entity is None else entity), selected)
    return list(found.values())


def key_of(entity: Any) -> Any:  # noqa: ANN401
    """An attribute of a mapped class or an alias of one that stands for its primary key."""
    mapper = inspect(entity).mapper
    try:
        name = mapper.get_property_by_column(mapper.primary_key[0]).key
    except UnmappedColumnError:
        return None
    return getattr(entity, name)


def _owner(selected: Any) -> FromClause | None:  # noqa: ANN401
    """The FROM that a plain column comes from; None for anything else."""
    if isinstance(selected, QueryableAttribute):
        selected = selected.expression
    return selected.table if isinstance(selected, ColumnClause) else None


def _rounded(value: int) -> int:
    """To two digits that are not zero: an estimate has no more to say."""
    return round(value, min(0, 2 - len(str(value))))
