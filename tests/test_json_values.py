"""Dataclasses to JSON values and back, by their type hints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Literal

import pytest

from sa_perf.histogram import Histogram
from sa_perf.json_values import decoded, encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a whole."""

    name: str
    size: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A value of every kind."""

    number: int
    ratio: float
    text: str
    flag: bool
    word: Literal["a", "b"]
    at: datetime
    maybe: str | None = None
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    names: tuple[str, ...] = ()
    facts: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=Histogram)

    @property
    def doubled(self) -> int:
        """A derived figure."""
        return 2 * self.number

    @property
    def label(self) -> str:
        """Derived, but no figure."""
        return self.text

    @property
    def _hidden(self) -> int:
        return 1


NOW = datetime(2026, 5, 1, 12, 30, 0, 123456, tzinfo=timezone.utc)


def whole(**changes: object) -> Whole:
    values: dict[str, object] = {
        "number": 3,
        "ratio": 0.5,
        "text": "x",
        "flag": True,
        "word": "a",
        "at": NOW,
    }
    return Whole(**{**values, **changes})


FULL = {
    "maybe": "y",
    "part": Part(name="p", size=1.5),
    "parts": (Part(name="q"), Part(name="r")),
    "names": ("s", "t"),
    "facts": {"rows": 5, "ratio": 0.1, "table": "t", "known": False, "index": None},
    "histogram": Histogram.from_items([(3, 4), (900, 70_000)]),
}


@pytest.mark.parametrize("changes", [{}, FULL])
def test_what_is_encoded_can_be_decoded(changes) -> None:
    value = whole(**changes)
    assert decoded(Whole, json.loads(json.dumps(encoded(value)))) == value


def test_derived_figures_are_written_and_skipped_when_read() -> None:
    data = encoded(whole())
    assert data["doubled"] == 6
    assert not {"label", "_hidden"} & set(data)
    assert decoded(Whole, {**data, "doubled": "anything"}) == whole()


def test_unknown_fields_are_skipped() -> None:
    assert decoded(Whole, {**encoded(whole()), "later": {"a": 1}}) == whole()


def test_missing_fields_take_their_defaults() -> None:
    data = encoded(whole(**FULL))
    for name in FULL:
        del data[name]
    assert decoded(Whole, data) == whole()


@pytest.mark.parametrize("name", ["number", "ratio", "text", "flag", "word", "at"])
def test_a_missing_field_without_default_is_named(name: str) -> None:
    data = encoded(whole())
    del data[name]
    with pytest.raises(ValueError, match=rf"^Whole\.{name} is missing$"):
        decoded(Whole, data)


WRONG: list[tuple[str, object]] = [
    ("number", 1.5),
    ("number", "1"),
    ("number", True),
    ("number", None),
    ("ratio", "0.5"),
    ("ratio", True),
    ("ratio", None),
    ("text", 5),
    ("text", None),
    ("flag", 1),
    ("flag", "true"),
    ("word", "c"),
    ("word", None),
    ("word", ["a"]),
    ("at", "yesterday"),
    ("at", "2026-05-01T12:30:00"),
    ("at", 5),
    ("at", None),
    ("maybe", 5),
    ("part", 5),
    ("part", {"size": 1}),
    ("part", {"name": 5}),
    ("parts", {"name": "p"}),
    ("parts", [5]),
    ("parts", "p"),
    ("parts", None),
    ("names", [5]),
    ("names", "st"),
    ("facts", []),
    ("facts", None),
    ("facts", {"rows": [1]}),
    ("facts", {"rows": {"a": 1}}),
    ("histogram", {}),
    ("histogram", [[1]]),
    ("histogram", [[-1, 1]]),
    ("histogram", None),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_field_of_another_type_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^Whole\.{name}"):
        decoded(Whole, {**encoded(whole()), name: value})


def test_the_place_of_a_fault_deep_inside_is_told() -> None:
    data = encoded(whole(**FULL))
    data["parts"][1]["name"] = 7
    with pytest.raises(ValueError, match=r"^Whole\.parts\[1\]\.name is 7, not str$"):
        decoded(Whole, data)


@pytest.mark.parametrize("data", [None, [], "x", 5, True])
def test_something_that_is_no_object_is_refused(data) -> None:
    with pytest.raises(ValueError, match=r"Whole is .*, not an object"):
        decoded(Whole, data)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_are_written_as_null(number: float) -> None:
    assert encoded({"a": number}) == {"a": None}


def test_whole_numbers_are_read_where_a_fraction_is_wanted() -> None:
    read = decoded(Whole, {**encoded(whole()), "ratio": 2})
    assert (read.ratio, type(read.ratio)) == (2.0, float)


@pytest.mark.parametrize("number", ["1" + 400 * "0", "1e999", "NaN", "-Infinity"])
def test_a_number_that_no_float_holds_is_refused(number) -> None:
    value = json.loads(f'{{"a": {number}}}')["a"]
    with pytest.raises(ValueError, match=r"^Whole\.ratio"):
        decoded(Whole, {**encoded(whole()), "ratio": value})


def test_a_time_keeps_its_offset() -> None:
    at = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert decoded(Whole, encoded(whole(at=at))).at == at


def test_a_time_may_be_written_with_z() -> None:
    assert decoded(Whole, {**encoded(whole()), "at": "2026-05-01T12:30:00.123456Z"}).at == NOW


def test_a_value_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="a object has no JSON form"):
        encoded({"a": object()})


def test_a_long_wrong_value_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"Whole\.number") as refused:
        decoded(Whole, {**encoded(whole()), "number": "x" * 10_000})
    assert len(str(refused.value)) < 200
