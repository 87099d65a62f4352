"""Bind values as they are kept: types and sizes unless more is asked for."""

from __future__ import annotations

import datetime
import decimal

import pytest

from sa_perf.queries.parameters import described

SECRET = "correct horse battery staple"


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (SECRET, "str(28)"),
        (b"\x00\xff", "bytes(2)"),
        (bytearray(3), "bytearray(3)"),
        (5, "int"),
        (1.5, "float"),
        (None, "NoneType"),
        (True, "bool"),
        ([1, 2, 3], "list(3)"),
        (decimal.Decimal("1.2"), "Decimal"),
        (datetime.date(2020, 1, 1), "date"),
        (_Unprintable(), "_Unprintable"),
    ],
)
def test_types_and_sizes_are_all_that_is_kept_by_default(value, text: str) -> None:
    assert described((value,), "types") == (text,)


def test_named_parameters_keep_their_names() -> None:
    assert described({"a": 1, "b": "xy"}, "types") == ("a=int", "b=str(2)")


def test_truncated_values_are_cut_at_80_characters() -> None:
    short, long = described(("x" * 10, "y" * 500), "truncated")
    assert short == repr("x" * 10)
    assert long == repr("y" * 500)[:80] + "... (502 characters)"


def test_full_values_are_whole() -> None:
    assert described(("y" * 500,), "full") == (repr("y" * 500),)


@pytest.mark.parametrize("mode", ["truncated", "full"])
def test_a_value_whose_repr_raises_is_told_without_its_error(mode: str) -> None:
    (text,) = described((_Unprintable(),), mode)
    assert text == "<_Unprintable whose repr raises RuntimeError>"


def test_of_many_parameter_sets_the_first_is_described() -> None:
    assert described([(1, "a"), (2, "b")], "types") == (
        "2 parameter sets, the first:",
        "int",
        "str(1)",
    )


def test_one_parameter_set_in_a_list_is_described_as_one() -> None:
    assert described([{"a": 1}], "types") == ("a=int",)


@pytest.mark.parametrize("mode", ["types", "truncated"])
def test_of_many_parameters_twenty_are_shown(mode: str) -> None:
    texts = described(tuple(range(10_000)), mode)
    assert (len(texts), texts[-1]) == (21, "... and 9980 more")


def test_all_parameters_are_shown_in_full() -> None:
    assert len(described(tuple(range(100)), "full")) == 100


@pytest.mark.parametrize("empty", [(), [], {}, [()], None, "text", 5])
def test_no_parameters_give_no_texts(empty) -> None:
    assert described(empty, "full") == ()
