"""How rows leave: changed in place, deleted, or deleted once they stand in an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Delete, Engine, Update

    from sa_perf.retention.archive import ArchiveFile
    from sa_perf.retention.steps import Step

__all__ = ["Disposal", "Disposed", "disposal_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposed:
    """What became of the rows of one statement.

    Attributes:
        rows: that it changed.
        archived: of them, that stand in the archive.
        file: of the archive; None: none was written.
    """

    rows: int
    archived: int = 0
    file: ArchiveFile | None = None


class Disposal:
    """Changes rows; keeps no copy."""

    def dispose(
        self,
        connection: Connection,
        stmt: Delete | Update,
        parameters: Mapping[str, Any],
        *,
        number: int,
    ) -> Disposed:
        """Run a statement that changes rows, within a batch's transaction.

        Args:
            connection: in the transaction.
            stmt: DELETE or UPDATE.
            parameters: its values.
            number: of the transaction in the run.
        """
        return Disposed(rows=connection.execute(stmt, parameters).rowcount)

    def committed(self, done: Disposed) -> None:
        """Take note that the transaction was committed."""

    def close(self) -> None:
        """Give back what is held open."""


def disposal_for(step: Step, connection: Connection, engine: Engine, run: str) -> Disposal:
    """How a policy's rows leave.

    Args:
        step: the policy.
        connection: of the run, in no transaction.
        engine: of the database.
        run: id of the run.

    Raises:
        ArchiveError: the archive is not to be had, or not what it was.
    """
    return Disposal()
