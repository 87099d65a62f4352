"""Rows that refer to expired ones, deleted or detached before them.

They go in transactions of their own, each bounded. In each of these the rows above are looked at
again and locked: one that is held meanwhile, or has become young, keeps its children. So are the
rows themselves: one that has got rows below it since these were cleared stays for another look,
else the database would delete those along, in no archive and not in the audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, delete, not_, select, update

from sa_perf.retention.keys import among, as_stored

if TYPE_CHECKING:
    from sqlalchemy import Select

    from sa_perf.retention.batch import Batch, Transactions
    from sa_perf.retention.children import Child

__all__ = ["Clearing"]

Condition: TypeAlias = ColumnElement[bool]
Path: TypeAlias = "tuple[Child, ...]"
#: Keys in one statement.
_CHUNK = 500


class Clearing:
    """Clears what refers to a policy's rows.

    Args:
        transactions: of the policy's run.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._ours = transactions
        self._dialect = transactions.step.purging.dialect

    def clear(
        self,
        child: Child,
        own: Sequence[Condition],
        parameters: dict[str, Any],
        batch: Batch,
    ) -> None:
        """Delete or detach the rows of a child, those below it first.

        Args:
            child: of the policy's table.
            own: which rows of the policy's table are meant.
            parameters: of these conditions.
            batch: for the audit.
        """
        ours = self._ours
        key = ours.step.target.key
        stmt = select(*as_stored(key, self._dialect)).where(*own, child.any())
        with ours.step.purging.reading(ours.connection):
            roots = ours.connection.execute(stmt.where(*ours.held()), parameters).all()
        for at in range(0, len(roots), _CHUNK):
            some = among(key, roots[at : at + _CHUNK], self._dialect)
            for path in _bottom_up((child,)):
                while self._transaction(path, [*own, some], parameters, batch):
                    pass

    def _transaction(
        self, path: Path, which: Sequence[Condition], parameters: dict[str, Any], batch: Batch
    ) -> bool:
        """One transaction on the last table of a path; whether there may be more to do."""
        ours, child = self._ours, path[-1]
        rows = min(ours.throttle.rows, _CHUNK * 4)
        with ours.begun(ours.lease.position) as started:
            keys = self._keys(path, [*which, *ours.held()], parameters, rows)
            if not keys:
                return False
            stmt = self._change(child, among(child.identity, keys, self._dialect))
            done = ours.disposal.dispose(ours.connection, stmt, {}, number=ours.number + 1)
            ours.write(batch, child.table.fullname, done, started, scanned=len(keys))
        ours.took(started, done, of_child=True)
        ours.pause(ours.clock() - started)
        return len(keys) == rows and done.rows > 0

    def _change(self, child: Child, matching: Condition) -> Any:  # noqa: ANN401  # two kinds
        """The statement; it looks below too, behind the locks, so that none is missed."""
        if child.how == "detach":
            return update(child.table).where(matching).values({one: None for one in child.columns})
        return delete(child.table).where(matching, *(not_(one.any()) for one in child.children))

    def _keys(
        self, path: Path, which: Sequence[Condition], parameters: dict[str, Any], rows: int
    ) -> Sequence[Any]:
        """Some rows at the end of a path that hang on expired rows; locks these and those."""
        ours, child = self._ours, path[-1]
        target = ours.step.target
        expired: Select[Any] = select(*as_stored(target.key, self._dialect)).where(*which)
        roots = ours.connection.execute(expired.with_for_update(of=target.table), parameters).all()
        if not roots:
            return ()
        joined: Any = target.table
        for one in path:
            joined = joined.join(one.rows, one.joined())
        columns = as_stored(child.named(child.identity), self._dialect)
        stmt = select(*columns).select_from(joined)
        stmt = stmt.where(among(target.key, roots, self._dialect)).limit(rows)
        found: Sequence[Any] = ours.connection.execute(stmt.with_for_update(of=child.rows)).all()
        return found


def _bottom_up(path: Path) -> Iterator[Path]:
    """The ways down to all tables that are to be cleared, the lowest first."""
    for deeper in path[-1].children:
        if deeper.how in ("delete_first", "detach"):
            yield from _bottom_up((*path, deeper))
    yield path
