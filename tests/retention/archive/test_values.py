"""A value's text, in JSON and in CSV, gives back the value."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.compression import compressing, decompressing
from sa_perf.retention.archive.formats import Csv, JsonLines, Layout, RowFormat

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
    st.binary(),
    st.sampled_from(['"', '""', ",", "\r\n", "\n", "", "\\x00", "nan", "{}", "NULL", "1", "true"]),
)
NAMES = st.lists(st.one_of(TEXT, st.just("base64")), min_size=1, max_size=5, unique=True)


@st.composite
def tables(draw) -> tuple[Layout, list[list[Any]]]:
    names = tuple(draw(NAMES))
    row = st.lists(VALUES, min_size=len(names), max_size=len(names))
    return Layout("t", names), draw(st.lists(row, max_size=8))


def _formats() -> list[RowFormat]:
    formats: list[RowFormat] = [JsonLines(), Csv()]
    try:
        from sa_perf.retention.archive.parquet import Parquet
    except ModuleNotFoundError:
        return formats
    return [*formats, Parquet(None)]


FORMATS = pytest.mark.parametrize(
    "row_format",
    [
        pytest.param(one, marks=() if type(one) in (JsonLines, Csv) else pytest.mark.extras)
        for one in _formats()
    ],
    ids=lambda one: type(one).__name__,
)


def _identity(value: Any) -> tuple[type, str]:
    """What two values share only if nothing tells them apart: NaN, -0.0, True and 1 too."""
    return type(value), repr(value)


@FORMATS
@given(table=tables())
def test_rows_come_back_as_they_were_written(row_format, table) -> None:
    layout, rows = table
    stream = io.BytesIO()
    assert row_format.write(stream, layout, rows) == len(rows)
    stream.seek(0)
    assert row_format.count(stream) == len(rows)
    stream.seek(0)
    read = [[_identity(row[name]) for name in layout.columns] for row in row_format.read(stream)]
    assert read == [[_identity(value) for value in row] for row in rows]


@given(table=tables())
def test_a_line_is_json_that_anything_reads(table) -> None:
    layout, rows = table
    stream = io.BytesIO()
    JsonLines().write(stream, layout, rows)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for line in stream.getvalue().decode("utf-8").split("\n")[:-1]:
        assert list(json.loads(line, parse_constant=refuse)) == list(layout.columns)


@given(table=tables())
def test_the_same_rows_make_the_same_bytes(table) -> None:
    layout, rows = table
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        with compressing(stream, "gzip") as inner:
            JsonLines().write(inner, layout, rows)
    assert streams[0].getvalue() == streams[1].getvalue()
    streams[0].seek(0)
    assert JsonLines().count(decompressing(streams[0], "gzip")) == len(rows)


@FORMATS
@pytest.mark.parametrize("value", [[1], {"a": 1}, 1j, "\ud800", object(), math])
def test_what_cannot_be_held_is_refused_by_the_name_of_its_column(row_format, value) -> None:
    with pytest.raises(ArchiveError, match="column 'second' of table 'event'"):
        row_format.write(io.BytesIO(), Layout("event", ("first", "second")), [(1, value)])


def test_a_format_holds_what_drivers_give_in_place_of_bytes() -> None:
    for row_format in _formats():
        stream = io.BytesIO()
        row_format.write(stream, Layout("t", ("a", "b")), [(memoryview(b"\xff"), bytearray(b""))])
        stream.seek(0)
        assert list(row_format.read(stream)) == [{"a": b"\xff", "b": b""}]


@pytest.mark.parametrize(
    ("row_format", "content"),
    [
        (JsonLines(), b"[1]\n"),
        (JsonLines(), b'{"a":[1]}\n'),
        (JsonLines(), b'{"a":{"unknown":"x"}}\n'),
        (JsonLines(), b"{"),
        (Csv(), b'"a"\n"x\n'),
        (Csv(), b'"a"\nword\n'),
        (Csv(), b'"a"\n"x"y\n'),
        (Csv(), b'"a"\n1,2\n'),
    ],
)
def test_a_file_of_something_else_is_refused(row_format, content) -> None:
    with pytest.raises(ValueError):
        list(row_format.read(io.BytesIO(content)))
