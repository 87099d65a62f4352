"""Sort values as bytes and back: what fits, what does not, and bytes of strangers."""

from __future__ import annotations

import enum
import math
import random
import zoneinfo
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sa_perf.errors import InvalidCursor, PaginationError
from sa_perf.pagination.cursors.payload import KINDS, Anchor, dumps, loads

MOMENT = datetime(2026, 3, 1, 12, 30, 45, 123456)
INSTANT = MOMENT.replace(tzinfo=timezone.utc)
EAST = timezone(timedelta(hours=5, minutes=45, seconds=7, microseconds=3))
NUMBER = UUID("6f1f1a3c-0000-4000-8000-00000000002a")

ZONES = st.one_of(
    st.just(timezone.utc),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]).map(zoneinfo.ZoneInfo),
)
FIXED_ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXTS,
    st.binary(),
    st.datetimes(),
    st.datetimes(timezones=ZONES),
    st.datetimes().map(lambda moment: moment.isoformat(" ", "microseconds")),
    st.dates(),
    st.times(),
    st.times(timezones=FIXED_ZONES),
    st.timedeltas(),
    st.decimals(),
    st.builds(lambda digits, exponent: Decimal((0, digits, exponent)),
              st.lists(st.integers(0, 9), min_size=1).map(tuple), st.integers(-99, 99)),
    st.uuids(),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
ALL_KINDS = st.sampled_from(sorted(KINDS))


def there_and_back(value: object, kind: str = "any") -> object:
    (found,) = loads(dumps(Anchor((value,)), [kind]), [kind]).values
    return found


def same(one: object, other: object) -> bool:
    """Whether two values are of one type and look the same; aware ones by their instant."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, datetime) and one.utcoffset() is not None:
        return one - INSTANT == other - INSTANT
    if isinstance(one, (float, Decimal)):
        return repr(one) == repr(other)
    return one == other


@given(st.lists(st.tuples(VALUES, ALL_KINDS), max_size=5), *[st.booleans()] * 3)
def test_every_value_comes_back_under_every_kind(pairs, backwards, inclusive, tied) -> None:
    values, kinds = tuple(value for value, _ in pairs), [kind for _, kind in pairs]
    anchor = Anchor(values, backwards=backwards, inclusive=inclusive, tied=tied)

    found = loads(dumps(anchor, kinds), kinds)

    assert (found.backwards, found.inclusive, found.tied) == (backwards, inclusive, tied)
    assert len(found.values) == len(values)
    assert all(map(same, values, found.values)), (values, found.values)


# What it costs


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (MOMENT, "naive"),
        (INSTANT, "aware"),
        (INSTANT.astimezone(EAST), "aware"),
        ("2026-03-01 12:30:45.123456", "datetime_text"),
    ],
)
def test_a_datetime_and_a_number_take_fifteen_bytes(value: object, kind: str) -> None:
    assert len(dumps(Anchor((value, 12_345_678)), [kind, "int"])) == 15


@pytest.mark.parametrize(
    ("value", "kind", "size"),
    [
        (None, "naive", 1),
        (True, "bool", 1),
        (7, "int", 1),
        (date(2026, 3, 1), "date", 3),
        (timedelta(seconds=1), "interval", 5),
        (NUMBER, "uuid", 17),
        (Decimal("1.10"), "decimal", 5),
        (1.5, "float", 9),
        (date(2026, 3, 1), "any", 4),
        (MOMENT, "any", 10),
        (MOMENT, "text", 10),
    ],
)
def test_a_value_takes_no_more_than_it_needs(value: object, kind: str, size: int) -> None:
    assert len(dumps(Anchor((value,)), [kind])) == 1 + size


@pytest.mark.parametrize(
    "flags", [{"backwards": True}, {"inclusive": True}, {"tied": True, "backwards": True}]
)
def test_a_direction_takes_a_byte(flags: dict[str, bool]) -> None:
    plain, other = (dumps(Anchor((MOMENT, 1), **one), ["naive", "int"]) for one in ({}, flags))
    assert len(other) == len(plain) + 1


def test_an_anchor_at_hand_is_read_as_written_down() -> None:
    # Cursors outlive a deployment: these bytes may not change unless the format's name does.
    written = bytes.fromhex("831b00064bf5a3a969801a00bc614e01")
    anchor = Anchor((datetime(2026, 3, 1, 12, 30, 45, 123456), 12_345_678), backwards=True)
    assert dumps(anchor, ["naive", "int"]) == written
    assert loads(written, ["naive", "int"]) == anchor


# Values with a corner


@pytest.mark.parametrize("kind", ["float", "any", "int", "decimal"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324])
def test_floats_keep_sign_and_specials(value: float, kind: str) -> None:
    assert repr(there_and_back(value, kind)) == repr(value)


@pytest.mark.parametrize("kind", ["decimal", "any", "float"])
@pytest.mark.parametrize(
    "text", ["1.10", "0E-10", "-0", "1E+400", "NaN", "sNaN", "NaN123", "-Infinity", "12" * 40]
)
def test_decimals_keep_their_exponent(text: str, kind: str) -> None:
    assert str(there_and_back(Decimal(text), kind)) == text


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("value", [2**63, 2**64, -(2**64) - 1, 10**60, -1, 0, True, False])
def test_whole_numbers_of_any_size_and_booleans_are_not_confused(value: int, kind: str) -> None:
    found = there_and_back(value, kind)
    assert (found, type(found)) == (value, type(value))


def test_both_of_two_equal_hours_keep_their_instant() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    second = first.replace(fold=1)
    found = [there_and_back(one, "aware") for one in (first, second)]
    assert found == [one.astimezone(timezone.utc) for one in (first, second)]
    assert found[1] - found[0] == timedelta(hours=1)
    assert all(one.tzinfo is timezone.utc for one in found)


@pytest.mark.parametrize("kind", ["aware", "any", "naive"])
@pytest.mark.parametrize(
    "value",
    [
        datetime.min.replace(tzinfo=EAST),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone.utc),
        datetime.max.replace(tzinfo=timezone.utc),
    ],
)
def test_instants_at_the_ends_of_the_calendar_come_back(value: datetime, kind: str) -> None:
    found = there_and_back(value, kind)
    assert (found.replace(tzinfo=None), found.utcoffset()) == (
        value.replace(tzinfo=None),
        value.utcoffset(),
    )


def test_a_time_with_a_zone_keeps_its_offset() -> None:
    late = time(23, 59, 59, 999_999, tzinfo=EAST)
    found = there_and_back(late, "time")
    assert (found, found.utcoffset()) == (late, late.utcoffset())


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01 12:30:45.123456",
        "0001-01-01 00:00:00.000000",
        "9999-12-31 23:59:59.999999",
        "2026-03-01T12:30:45.123456",
        "2026-03-01 12:30:45.12345",
        "2026-03-01 12:30:45,123456",
        "2026-02-30 12:30:45.123456",
        "2026-03-01 12:30:45.1234\u0665\u0666",
        "2026-03-01 12:30:45+01:00 ",
        "2026-03-01 12:30:45 +01:00",
        "2026-03-01",
        "",
        "x" * 26,
    ],
)
def test_a_text_in_a_datetime_column_comes_back_letter_by_letter(text: str) -> None:
    assert there_and_back(text, "datetime_text") == text


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 3


class Instant(datetime):
    """Like those of pendulum: differences are of a type of their own."""

    def __sub__(self, other) -> datetime:
        raise AssertionError(other)


class DriverUUID(UUID):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Level.LOW, 3),
        (Instant(2026, 3, 1), datetime(2026, 3, 1)),
        (Instant(2026, 3, 1, tzinfo=timezone.utc), datetime(2026, 3, 1, tzinfo=timezone.utc)),
        (DriverUUID(int=NUMBER.int), NUMBER),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ((1, (2,)), [1, [2]]),
    ],
)
def test_a_subclass_comes_back_as_the_plain_type(value: object, plain: object) -> None:
    found = there_and_back(value)
    assert (found, type(found)) == (plain, type(plain))


# What cannot be a cursor


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "builtins.object"),
        (1j, "builtins.complex"),
        (Fraction(1, 2), "fractions.Fraction"),
        ({1, 2}, "builtins.set"),
        ([frozenset()], "builtins.frozenset"),
    ],
)
def test_a_type_without_a_form_is_named_with_a_remedy(value: object, name: str) -> None:
    with pytest.raises(PaginationError, match=f"of type {name}; order by .*cast") as refused:
        dumps(Anchor((value,)), ["any"])
    assert not isinstance(refused.value, InvalidCursor)


def test_values_too_deep_or_in_a_circle_are_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(PaginationError, match="deeper than 32 levels; order by"):
        dumps(Anchor((circle,)), ["list"])


def nested(depth: int) -> list[object]:
    value: list[object] = [MOMENT, datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))]
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("kind", ["list", "any", "int"])
def test_the_deepest_values_that_are_written_are_read(kind: str) -> None:
    assert same(there_and_back(nested(32), kind), nested(32))
    with pytest.raises(PaginationError):
        dumps(Anchor((nested(33),)), [kind])


def test_a_dict_with_other_keys_than_texts_is_refused() -> None:
    with pytest.raises(PaginationError, match="order by a part"):
        dumps(Anchor(({1: 2},)), ["any"])


@pytest.mark.parametrize("value", ["secret\ud800", {"secret\ud800": 1}])
def test_half_a_surrogate_pair_is_refused_without_showing_the_text(value: object) -> None:
    with pytest.raises(PaginationError, match="surrogate") as refused:
        dumps(Anchor((value,)), ["any"])
    assert "secret" not in str(refused.value)


def test_as_many_values_as_keys_are_needed() -> None:
    with pytest.raises(PaginationError, match="2 values for 1 sort keys"):
        dumps(Anchor((1, 2)), ["int"])


# Bytes of strangers


CBOR = {
    "nothing": "",
    "no array": "01",
    "a tag around the array": "c68101",
    "too few values": "80",
    "too many values": "820101820101",
    "trailing bytes": "810100",
    "a value that is cut": "811b0006",
    "a text that is cut": "8162",
    "an array that is cut": "82",
    "an indefinite array": "9f01ff",
    "an indefinite text": "817f6161ff",
    "a lone break": "81ff",
    "a reserved length": "811c",
    "undefined": "81f7",
    "a simple value": "81f0",
    "a longer spelling of a number": "811801",
    "a shorter spelling of a float": "81f93e00",
    "no Unicode": "8161ff",
    "half a surrogate pair": "8163eda080",
    "flags of zero": "820100",
    "flags of nothing": "8201f6",
    "flags and more": "83010101",
    "flags too high": "820108",
    "flags that are negative": "820120",
    "flags that are true": "8201f5",
    "a value with the tag of text dates": "81c074323032362d30332d30315430303a30303a30305a",
    "a regular expression": "81d8236128",
    "a big float": "81c5821b7fffffffffffffff01",
    "a fraction by zero": "81d81e820100",
    "a shared reference to itself": "81d81c81d81d00",
    "a text reference": "81d81900",
    "a mail": "81d8246161",
    "a set": "81d9010280",
    "a number for a tag beyond all": "81dbffffffffffffffff00",
    "an unknown tag": "81ce01",
    "a tag that holds nothing": "81c7f6",
    "a tag in a tag": "81c7c701",
    "a big number made of an array": "81c28101",
    "a big number that is small": "81c24101",
    "a datetime beyond the calendar": "81c71b7fffffffffffffff",
    "a datetime beyond all numbers": "81c7c258" + "20" + "ff" * 32,
    "an instant far out that lies within": "81c8820000",
    "a zone of more than a day": "81ca82001b000000174876e800",
    "a zone that is a text": "81ca82006161",
    "a time after midnight": "81ca1b0000001dcd650000",
    "a day beyond the calendar": "81c91b00000000ffffffff",
    "a decimal that is none": "81cc6178",
    "a decimal in another spelling": "81cc63315f30",
    "a decimal in strange digits": "81cc62d9a1",
    "a UUID that is short": "81cd4101",
    "a dict with number keys": "81a10101",
    "a dict with a key twice": "81a2616101616102",
    "a dict with a list as key": "81a18001",
    "a dict with a dict as key": "81a1a001",
    "a dict with a tag as key": "81a1c60001",
    "an array of all bytes there are": "819bffffffffffffffff01",
    "a text of all bytes there are": "817bffffffffffffffff61",
    "a dict of all bytes there are": "81bbffffffffffffffff61",
    "a deep array": "81" * 1_400,
    "a deep tag": "81" + "c6" * 1_400 + "01",
    "a deep dict": "81" + "a16161" * 450 + "01",
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("data", [pytest.param(bytes.fromhex(h), id=n) for n, h in CBOR.items()])
def test_bytes_that_are_not_written_are_not_read(data: bytes, kind: str) -> None:
    with pytest.raises(InvalidCursor):
        loads(data, [kind])


@pytest.mark.parametrize(
    ("wire", "kind"),
    [("c601", "int"), ("c601", "any"), ("c66161", "text"), ("c701", "naive"), ("cd50", "uuid")],
)
def test_a_tag_where_none_is_needed_is_refused(wire: str, kind: str) -> None:
    with pytest.raises(InvalidCursor):
        loads(bytes.fromhex("81" + wire).ljust(18 if kind == "uuid" else 0, b"a"), [kind])


def test_bytes_that_refer_to_themselves_end_at_once() -> None:
    # The library would resolve each level to two references to the next: 2**200 values.
    level = bytes.fromhex("d81c82")
    data = b"\x81" + level * 200 + b"".join(b"\xd8\x1d\x18" + bytes([n]) for n in range(200, 1, -1))
    with pytest.raises(InvalidCursor):
        loads(data, ["any"])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "text"), ("a", "int"), (True, "int"), (1, "bool"), (1.5, "int"), (1, "float"),
        (b"a", "text"), ("a", "bytes"), (1, "uuid"), (b"a", "uuid"), (1, "decimal"),
        ("a", "naive"), ("a", "aware"), (1.5, "date"), ("a", "time"), ([0, 0], "naive"),
        ([0], "time"), ([0, 0, 0], "time"), (b"a", "datetime_text"), ({}, "list"), (1, "list"),
        ([0], "int"), ({}, "text"), (-1, "time"), (86_400_000_000, "time"), (2**80, "interval"),
        ("1_0", "decimal"), (" 1", "decimal"), ("2026-03-01 12:30:45.123456", "datetime_text"),
        (2**62, "naive"), (2**62, "aware"), (2**40, "date"), (2**62, "datetime_text"),
    ],
)  # fmt: skip
def test_a_bare_value_of_another_type_than_the_kind_is_refused(value: object, kind: str) -> None:
    with pytest.raises(InvalidCursor):
        loads(cbor2.dumps([value]), [kind])


def test_the_message_may_be_shown_to_a_client() -> None:
    with pytest.raises(InvalidCursor) as refused:
        loads(cbor2.dumps(["secret"]), ["int"])
    assert str(refused.value) == "the cursor is not valid for this list; begin again without one"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@given(st.binary(max_size=40), st.lists(ALL_KINDS, max_size=3))
@example(b"\x80", [])
def test_any_bytes_are_read_as_written_or_refused(data: bytes, kinds: list[str]) -> None:
    accepted_only_what_is_written(data, kinds)


@given(st.lists(st.tuples(VALUES, ALL_KINDS), max_size=3), st.data())
def test_bytes_with_a_fault_are_read_as_written_or_refused(pairs, data) -> None:
    kinds = [kind for _, kind in pairs]
    raw = bytearray(dumps(Anchor(tuple(value for value, _ in pairs)), kinds))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    accepted_only_what_is_written(bytes(raw), kinds)


@pytest.mark.parametrize("rounds", [2_000, pytest.param(200_000, marks=pytest.mark.exhaustive)])
def test_random_items_are_read_as_written_or_refused(rounds: int) -> None:
    chance = random.Random(20260301)
    heads = [0x81, 0x82, 0x83, 0xA1, 0xC2, 0xC3, *range(0xC6, 0xCF), 0x61, 0x62, 0x41, 0x1B, 0xF9]
    accepted = 0
    for _ in range(rounds):
        body = [chance.choice((*heads, chance.randrange(256))) for _ in range(chance.randrange(12))]
        kinds = [chance.choice(sorted(KINDS))]
        accepted += accepted_only_what_is_written(bytes([0x81, *body]), kinds)
    assert 0 < accepted < rounds


def accepted_only_what_is_written(data: bytes, kinds: list[str]) -> bool:
    try:
        anchor = loads(data, kinds)
    except InvalidCursor:
        return False
    assert dumps(anchor, kinds) == data
    return True
