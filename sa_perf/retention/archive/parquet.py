"""Rows in Parquet files, by the package ``pyarrow``.

A column whose values are all of one kind becomes a column of that kind: int64, double, bool, string
or binary. One that mixes kinds, as SQLite allows, holds JSON texts and says so in its metadata. The
rows of one file are held in memory to find that out. Moments and decimals are the database's texts:
Parquet's own types hold neither ``infinity`` nor every precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from sa_perf.errors import MissingExtra
from sa_perf.retention.archive.compression import Compression
from sa_perf.retention.archive.formats import Layout, checked
from sa_perf.retention.archive.values import Value, json_line, row_of_json

try:
    import pyarrow
    from pyarrow import parquet
except ModuleNotFoundError as error:
    raise MissingExtra("pyarrow", "parquet") from error

__all__ = ["Parquet"]

ROW_GROUP = 10_000
#: Marks a column whose values are JSON texts.
MIXED = {b"sa_perf": b"json"}
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


class Parquet:
    """Rows by column.

    Args:
        compression: of its pages; Parquet does that itself.
    """

    def __init__(self, compression: Compression | None) -> None:
        self._compression = compression or "none"

    def write(self, stream: BinaryIO, layout: Layout, rows: Iterable[Sequence[object]]) -> int:
        """Write rows; all of them are held at a time."""
        columns: list[list[Value]] = [[] for _ in layout.columns]
        for row in rows:
            for column, value in zip(columns, checked(layout, row), strict=True):
                column.append(value)
        fields, arrays = [], []
        for name, values in zip(layout.columns, columns, strict=True):
            field, array = _column(name, values)
            fields.append(field)
            arrays.append(array)
        table = pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))
        parquet.write_table(table, stream, row_group_size=ROW_GROUP, compression=self._compression)
        return int(table.num_rows)

    def read(self, stream: BinaryIO) -> Iterator[dict[str, Value]]:
        """Rows, a row group at a time."""
        file = parquet.ParquetFile(stream)
        mixed = {
            field.name
            for field in file.schema_arrow
            if dict(field.metadata or {}).get(b"sa_perf") == b"json"
        }
        for batch in file.iter_batches(batch_size=1_000):
            for row in batch.to_pylist():
                for name in mixed:
                    row[name] = row_of_json(row[name])["value"]
                yield row

    def count(self, stream: BinaryIO) -> int:
        """Rows, as the footer says."""
        return int(parquet.ParquetFile(stream).metadata.num_rows)


def _column(name: str, values: list[Value]) -> tuple[Any, Any]:
    """A column's field and its values."""
    kinds = {type(value) for value in values} - {type(None)}
    type_ = _type_of(kinds.pop(), values) if len(kinds) == 1 else None
    if type_ is None and not kinds and all(value is None for value in values):
        type_ = pyarrow.string()
    if type_ is None:
        texts = [json_line({"value": value}) for value in values]
        return pyarrow.field(name, pyarrow.string(), metadata=MIXED), pyarrow.array(texts)
    return pyarrow.field(name, type_), pyarrow.array(values, type=type_)


def _type_of(kind: type[Any], values: list[Value]) -> Any:  # noqa: ANN401  # a type of Arrow's
    if kind is int:
        fits = all(v is None or _SMALLEST <= v <= _LARGEST for v in values)  # type: ignore[operator]  # all are of this kind
        return pyarrow.int64() if fits else None
    kinds = {
        bool: pyarrow.bool_,
        float: pyarrow.float64,
        str: pyarrow.string,
        bytes: pyarrow.binary,
    }
    return kinds[kind]()
