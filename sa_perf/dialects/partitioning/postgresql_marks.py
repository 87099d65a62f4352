"""The comment on a partition that is to be dropped, in PostgreSQL.

It is written before DETACH PARTITION CONCURRENTLY, which is no transaction, and again after it: a
table whose comment says only that it was to be detached may have been detached by somebody else,
so that nobody may drop it. Without CONCURRENTLY both are one transaction, and one comment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sa_perf.dialects.partitioning.base import MARK

__all__ = ["ANY_MARK", "Mark"]

_INTENDED = "sa_perf: to be detached "
#: A pattern of LIKE that finds each of them.
ANY_MARK = "sa_perf: %detached {%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What such a comment says.

    Attributes:
        parent: whose partition it is or was, with its schema.
        child: the table's own name then, with its schema.
        oid: the table's number.
        lower: its first moment, without zone; None: without bound.
        upper: the moment behind its last.
        was: the comment that the table had before.
        done: it was detached; else only meant to be.
    """

    parent: str
    child: str
    oid: int
    lower: datetime | None
    upper: datetime | None
    was: str | None
    done: bool

    def written(self) -> str:
        """The comment."""
        told = {
            "from": self.parent, "table": self.child, "oid": self.oid, "was": self.was,
            "l": _written(self.lower), "u": _written(self.upper),
        }  # fmt: skip
        return (MARK if self.done else _INTENDED) + json.dumps(told)

    @classmethod
    def read(cls, comment: str | None) -> Mark | None:
        """What a comment says; None: it is none of these."""
        for beginning, done in ((MARK, True), (_INTENDED, False)):
            if comment is not None and comment.startswith(beginning):
                try:
                    told = json.loads(comment.removeprefix(beginning))
                    return cls(
                        parent=told["from"], child=told["table"], oid=told["oid"],
                        lower=_told(told["l"]), upper=_told(told["u"]), was=told["was"], done=done,
                    )  # fmt: skip
                except (ValueError, LookupError, TypeError):  # somebody wrote on it
                    return None
        return None

    def doubt(self, child: str, oid: int) -> str | None:
        """Why the table that has this comment, and is no partition, may not be dropped."""
        way = f"attach() it, drop it, or say that it stays: COMMENT ON TABLE {child} IS NULL"
        if not self.done:
            return f"a run that was to detach it ended, and somebody else may have done it; {way}"
        if (self.child, self.oid) != (child, oid):
            return f"its comment was written for {self.child}; {way}"
        return None


def _told(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
