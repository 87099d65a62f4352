"""What the sqlite3 shell's ``.expert`` would index, for index_advice.py.

It knows no statistics unless it samples, takes one statement at a time, and reads ``?`` as a value
that is not known. https://www.sqlite.org/cli.html#index_recommendations_sqlite_expert_
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

__all__ = ["ExpertIndex", "ExpertUnavailable", "indexes_by_expert"]

_MADE = re.compile(r"^CREATE INDEX (\S+) ON '?\"?(\w+)\"?'?\((.*)\);$", re.M)


class ExpertUnavailable(Exception):
    """There is no shell, or it has no ``.expert``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertIndex:
    """An index that ``.expert`` names."""

    table: str
    keys: tuple[str, ...]

    @property
    def leading(self) -> tuple[str, str]:
        """Table and first key, without its direction."""
        return self.table, self.keys[0].split()[0].strip("\"'").lower()

    def create_sql(self, name: str) -> str:
        """The statement that makes it."""
        return f"CREATE INDEX {name} ON {self.table} ({', '.join(self.keys)})"


def indexes_by_expert(file: str, statement: str) -> tuple[ExpertIndex, ...]:
    """Ask the shell about one statement; nothing where it names no index.

    Raises:
        ExpertUnavailable: with what the shell says.
    """
    shell = shutil.which("sqlite3")
    if shell is None:
        raise ExpertUnavailable("there is no sqlite3 shell")
    one_line = " ".join(statement.split()).rstrip(";")
    answer = subprocess.run(
        [shell, "-batch", "-readonly", file],
        input=f".expert\n{one_line};\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if answer.returncode or "rror" in answer.stderr:
        raise ExpertUnavailable(answer.stderr.strip() or answer.stdout.strip())
    found = {
        ExpertIndex(table=table, keys=tuple(key.strip() for key in keys.split(",")))
        for _, table, keys in _MADE.findall(answer.stdout)
    }
    return tuple(sorted(found, key=lambda index: (index.table, index.keys)))
