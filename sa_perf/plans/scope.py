"""Whose a column of a statement is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.dialects import TableFacts

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The tables that a block's columns may belong to.

    Attributes:
        tables: alias in lower case -> table's name.
        facts: by table's name in lower case.
        whole: there is nothing else in FROM.
        others: aliases in lower case of the subqueries and CTEs in FROM.
    """

    tables: Mapping[str, str]
    facts: Mapping[str, TableFacts]
    whole: bool
    others: frozenset[str] = frozenset()

    def has(self, alias: str) -> bool:
        """Whether the block has a table of that alias."""
        return alias.casefold() in self.tables

    def column(self, column: exp.Column) -> tuple[str | None, str | None]:
        """Alias and name of a column; (None, None) where it is not clear whose it is."""
        name, alias = column.name, column.table.casefold()
        if alias:
            return (alias, name) if alias in self.tables else (None, None)
        if len(self.tables) == 1 and self.whole:
            return next(iter(self.tables)), name
        owners = [
            alias
            for alias, table in self.tables.items()
            if (facts := self.facts.get(table.casefold())) and facts.column(name)
        ]
        known = all(table.casefold() in self.facts for table in self.tables.values())
        return (owners[0], name) if len(owners) == 1 and known and self.whole else (None, None)
