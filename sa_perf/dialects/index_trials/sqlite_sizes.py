"""What a SQLite index would take on disk."""

from __future__ import annotations

import math

from sa_perf.dialects.index_trials.sqlite_sampling import TableSample
from sa_perf.dialects.index_trials.sqlite_shadow import Shadow, ShadowIndex
from sa_perf.dialects.index_trials.sqlite_source import quoted

__all__ = ["index_bytes"]

#: CREATE INDEX fills pages one after the other, but for what the next entry does not fit in.
_FILLED = 0.95
_PAGE_HEADER = 8


def index_bytes(shadow: Shadow, index: ShadowIndex, sample: TableSample, page: int) -> int:
    """Bytes of an index that was just made, whole pages.

    Args:
        shadow: where the index is tried.
        index: in the shadow.
        sample: of its table.
        page: size of a page in the database, bytes.
    """
    texts = ["rowid" if part.column == "rowid" else part.expression for part in index.parts]
    if shadow.has_rowid(index.schema, index.table):
        sizes = [_integer_bytes(sample.rows)]
    else:
        held = {part.column for part in index.parts}
        key = shadow.primary_key(index.schema, index.table)
        texts += [quoted(name) for name in key if name not in held]
        sizes = []
    sizes += [sample.mean_bytes(text) for text in texts]
    # A record's header has a byte a column and one for its own length; the cell adds its length
    # and a pointer of two bytes (fileformat2.html, 1.6 and 2.1).
    cell = sum(sizes) + len(sizes) + 1 + 1 + 2
    rows = sample.rows * sample.fraction(index.predicate)
    return max(1, math.ceil(rows * cell / _FILLED / (page - _PAGE_HEADER))) * page


def _integer_bytes(number: float) -> float:
    bits = math.log2(max(2.0, number)) + 1
    return float(next((size for size in (1, 2, 3, 4, 6) if bits <= 8 * size), 8))
