"""What SQLite's single steps cost, measured.

The numbers are microseconds of the machine on which they were measured (SQLite 3.40, 4 KiB pages,
its cache of 2 MB, the file in the system's cache, rows fetched by Python's sqlite3); only their
proportions count. Tables of 300,000 to 1,200,000 rows of 40 to 380 bytes: 0.037 to 0.35 for a row
of a full scan, 0.3 (in order, all in cache) to 3 (at random) for the row of an index's entry, 0.9
to 1.3 for a row of 6 to 8 columns that is handed over. Where a price varies, what is there already
is taken to be cheap, and what an index on trial needs to be dear.
"""

from __future__ import annotations

import math

__all__ = [
    "BEGIN",
    "BUFFERED",
    "CHANGED",
    "HANDED_OVER",
    "distinct",
    "lookups",
    "scan",
    "seeks",
    "sort",
]

#: To begin a statement and to end it.
BEGIN = 15.0
#: To hand a row over to the driver.
HANDED_OVER = 0.9
#: To change a row that was found.
CHANGED = 3.0
#: To put a row into a temporary table, or to take it out.
BUFFERED = 0.15

_PAGE_BYTES = 4_096
_CACHED_PAGES = 500
_STEP = 0.03
_DESCENT = 0.6
_CACHED_DESCENT = 0.3
_NEXT_ROW = 0.15
_NEXT_PAGE = 1.5
_RANDOM_PAGE = 2.5
_COMPARISON = 0.008
_PASSED_OVER = 0.07


def scan(rows: float, row_bytes: float) -> float:
    """To read so many neighbouring rows or entries."""
    return rows * (_STEP + min(row_bytes, _PAGE_BYTES) / _PAGE_BYTES * _NEXT_PAGE)


def seeks(count: float, tree_bytes: float, *, cached: bool = False) -> float:
    """To go down a tree so often, for a key each; where it is cached a page is read once."""
    pages = max(1.0, tree_bytes / _PAGE_BYTES)
    if cached:
        return count * _CACHED_DESCENT + pages * -math.expm1(-count / pages) * _NEXT_PAGE
    return count * _DESCENT + _misses(count, pages) * _RANDOM_PAGE


def lookups(
    rows: float, table_bytes: float, *, order: float, together: bool, cached: bool = False
) -> float:
    """To read the rows of so many entries of an index.

    Args:
        rows: how many.
        table_bytes: size of the table.
        order: 0 where rows lie in another order than entries, 1 where in the same.
        together: rows in the same order are neighbours, and not spread over the table.
        cached: a page is read once at most.
    """
    pages = max(1.0, table_bytes / _PAGE_BYTES)
    spread = pages * -math.expm1(-rows / pages)
    ordered = min(spread, rows * 0.1) if together else spread
    if cached:
        return rows * _CACHED_DESCENT + (ordered if together else spread) * _NEXT_PAGE
    read = order * ordered * _NEXT_PAGE + (1 - order) * _misses(rows, pages) * _RANDOM_PAGE
    # Towards the next rowid SQLite makes a step and no descent (sqlite3BtreeTableMoveto).
    step = order * _NEXT_ROW + (1 - order) * _DESCENT if together else _DESCENT
    return rows * step + read


def sort(rows: float, kept: float) -> float:
    """To sort so many rows, of which only the first ones are kept.

    A LIMIT keeps few: most rows are compared with the last of them and dropped.
    """
    if kept < rows:
        return rows * _PASSED_OVER + kept * _COMPARISON * math.log2(max(2.0, kept))
    return rows * (_COMPARISON * math.log2(max(2.0, rows)) + _PASSED_OVER)


def distinct(rows: float) -> float:
    """To keep one of each of so many rows, where few differ."""
    return rows * _PASSED_OVER


def _misses(count: float, pages: float) -> float:
    """Pages that are not in SQLite's cache when so many are read at random."""
    pages = max(1.0, pages)
    again = max(0.0, 1 - _CACHED_PAGES / pages)
    distinct = pages * -math.expm1(-count / pages)
    return distinct + max(0.0, count - distinct) * again
