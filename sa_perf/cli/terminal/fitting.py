"""A table whose less important columns go where there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from sa_perf.cli.terminal.tables import bare_table
from sa_perf.cli.wording.plain_text import one_line

__all__ = ["Column", "FittingTable"]

#: Between two columns: padding, and the divider that is drawn as a blank.
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        importance: columns of 0 always stay; of the others the highest goes first.
        text: it holds words, else numbers.
        room: cells that are enough for it, where longer words may be folded; None: no folding.
    """

    name: str
    importance: int = 0
    text: bool = False
    room: int | None = None


class FittingTable:
    """Rows in the columns that there is room for.

    Args:
        columns: from left to right.
        rows: a cell for each column.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
        self._columns = columns
        self._rows = [[_cell(one) for one in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        places = self._places(options.max_width)
        shown = [self._columns[place] for place in places]
        table = bare_table(
            *(one.name for one in shown), left=tuple(one.name for one in shown if one.text)
        )
        for made, column in zip(table.columns, shown, strict=True):
            made.no_wrap = column.room is None
            made.overflow = "fold"
        for row in self._rows:
            table.add_row(*(row[place] for place in places))
        yield table

    def _places(self, width: int) -> list[int]:
        """Columns that fit, by their place."""
        places = list(range(len(self._columns)))
        while sum(self._width(one) + _GAP for one in places) > width:
            least = max(places, key=lambda one: (self._columns[one].importance, one))
            if self._columns[least].importance == 0:
                break
            places.remove(least)
        return places

    def _width(self, place: int) -> int:
        column = self._columns[place]
        cells = [cell_len(row[place].plain) for row in self._rows]
        natural = max([cell_len(column.name), *cells])
        return natural if column.room is None else min(natural, column.room)


def _cell(given: str | Text) -> Text:
    return given if isinstance(given, Text) else Text(one_line(given))
