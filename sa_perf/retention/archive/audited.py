"""What the audit says of the files that a policy's runs archived."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from sa_perf.retention.tables import batches, runs
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.dialects.purging import Purging

__all__ = ["Audited", "AuditedRun"]

#: Runs in one statement.
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRun:
    """A run of the policy.

    Attributes:
        run: its id.
        has_ended: no batch of it will be committed any more.
        place: where it archived to, in words, without the format.
    """

    run: str
    has_ended: bool
    place: str


@dataclass(frozen=True, slots=True)
class Audited:
    """The audit of one policy, asked in short transactions.

    Attributes:
        connection: in no transaction.
        purging: the database's ways.
        policy: whose.
        keep: renews the right to run the policy, where it is time to; called between steps that may
            take long.
    """

    connection: Connection
    purging: Purging
    policy: str
    keep: Callable[[], None] = lambda: None

    def runs(self) -> list[AuditedRun]:
        """All runs of the policy."""
        statement = select(runs.c.run, runs.c.outcome, runs.c.archive).where(
            runs.c.policy == self.policy
        )
        with self.purging.reading(self.connection):
            rows = self.connection.execute(statement, execution_options=UNRECORDED).all()
        return [
            AuditedRun(
                run=run,
                has_ended=outcome != "running",
                place=str(archive or "").rpartition(" (")[0],
            )
            for run, outcome, archive in rows
        ]

    def committed(self, of_runs: Iterable[str]) -> dict[str, str]:
        """Files of committed batches of some runs, with their SHA-256."""
        wanted = list(of_runs)
        found: dict[str, str] = {}
        for at in range(0, len(wanted), _CHUNK):
            self.keep()
            statement = (
                select(batches.c.archive_file, batches.c.archive_sha256)
                .join(runs, runs.c.id == batches.c.run_id)
                .where(runs.c.policy == self.policy, runs.c.run.in_(wanted[at : at + _CHUNK]))
                .where(batches.c.archive_file.is_not(None))
            )
            with self.purging.reading(self.connection):
                rows = self.connection.execute(statement, execution_options=UNRECORDED)
                found.update((str(name), str(digest)) for name, digest in rows)
        return found
