"""The values at a page's border as bytes, and back: strict CBOR.

The bytes are one CBOR array (RFC 8949): a value a sort key and, where it is not zero, a number for
the direction. What a bare value means is said by the key's kind, so (datetime, int) takes 15
bytes. A value that does not fit its kind is tagged, so it comes back as it was all the same.

`loads` is written for bytes of which nobody knows where they come from. It looks at the structure
before the library decodes it, since the library makes regular expressions, shared references and
more out of tags; and it accepts only what `dumps` writes, so no two texts are the same cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import cbor2

from sa_perf.errors import InvalidCursor, PaginationError

__all__ = ["KINDS", "Anchor", "dumps", "loads"]

#: What the values of a sort key are. ``naive`` and ``aware`` are datetimes without and with a zone,
#: ``datetime_text`` texts like "2026-03-01 12:00:00.000000" (other texts are kept as they are),
#: ``any`` is what nothing is known of. None is allowed everywhere.
KINDS = frozenset(
    {
        "aware", "naive", "datetime_text", "date", "time", "interval", "int", "float", "decimal",
        "bool", "text", "bytes", "uuid", "list", "any",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a page begins: the sort keys of the row at its border.

    Attributes:
        values: in the order of the sort keys, in the form in which the driver takes them.
        backwards: the page lies before the row.
        inclusive: the row belongs to the page.
        tied: many rows share the value of the first key.
    """

    values: tuple[object, ...]
    _: KW_ONLY
    backwards: bool = False
    inclusive: bool = False
    tied: bool = False


def dumps(anchor: Anchor, kinds: Sequence[str]) -> bytes:
    """Write an anchor.

    Subclasses of the types below come back as the type itself, a tuple as a list, a memoryview as
    bytes, an aware datetime as the same instant in UTC.

    Args:
        anchor: its values are None, bool, int, float, str, bytes, datetime, date, time, timedelta,
            Decimal, UUID, or lists and dicts (keys: str) of these, at most 32 deep.
        kinds: one of `KINDS` a value.

    Raises:
        PaginationError: a value is of another type, too deep, or a text that is no Unicode; or
            there are more or fewer values than kinds.
    """
    values = anchor.values
    if len(values) != len(kinds):
        raise PaginationError(f"there are {len(values)} values for {len(kinds)} sort keys")
    items = [
        None if value is None else _packed(value, kind)
        for value, kind in zip(values, kinds, strict=True)
    ]
    flags = anchor.backwards + 2 * anchor.inclusive + 4 * anchor.tied
    if flags:
        items.append(flags)
    try:
        return cbor2.dumps(items)
    except UnicodeEncodeError:
        message = (
            "cannot make a cursor of a text that holds half a surrogate pair; repair the text or "
            "order by another expression"
        )
        raise PaginationError(message) from None


def loads(data: bytes, kinds: Sequence[str]) -> Anchor:
    """Read an anchor; takes time in proportion to the bytes, whatever they say.

    Args:
        data: from anywhere.
        kinds: those with which it was written.

    Raises:
        InvalidCursor: `dumps` writes no such bytes for these kinds.
    """
    try:
        if _end_of_item(data, 0, 0) != len(data):
            raise InvalidCursor
        items = cbor2.loads(data)
        if type(items) is not list:
            raise InvalidCursor
        # One value has one spelling, which is what writing it again shows. Where no value has
        # another form than the library's, what the library read is enough for that.
        plain = _ONE_FORM.issuperset(map(type, items)) and _SEVERAL_FORMS.isdisjoint(kinds)
        if plain and cbor2.dumps(items) != data:
            raise InvalidCursor
        flags = 0 if len(items) == len(kinds) else _checked_flags(items.pop())
        anchor = _anchor(items, flags, kinds)
        if not plain and dumps(anchor, kinds) != data:
            raise InvalidCursor
    except (cbor2.CBORDecodeError, ValueError, OverflowError, IndexError, InvalidOperation):
        raise InvalidCursor from None
    return anchor


def _anchor(items: list[object], flags: int, kinds: Sequence[str]) -> Anchor:
    values = tuple(
        [
            None if item is None else _unpacked(item, kind)
            for item, kind in zip(items, kinds, strict=True)
        ]
    )
    return Anchor(
        values, backwards=bool(flags & 1), inclusive=bool(flags & 2), tied=bool(flags & 4)
    )


def _checked_flags(flags: object) -> int:
    if type(flags) is not int or not 1 <= flags <= 7:
        raise InvalidCursor
    return flags


# Values to what CBOR knows by itself


_MAX_NESTING = 32
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=timezone.utc)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND = timedelta(microseconds=1)
_DAY_MICROSECONDS = 86_400_000_000

# RFC 8949 and its registry leave the numbers 6 to 15 free; these take one byte.
_PLAIN = 6
_TAGS: dict[str, int] = {
    "naive": 7,
    "aware": 8,
    "date": 9,
    "time": 10,
    "interval": 11,
    "decimal": 12,
    "uuid": 13,
}
_KINDS_BY_TAG = {tag: kind for kind, tag in _TAGS.items()}

# A type before those that it is a subclass of.
_KINDS_BY_TYPE: dict[type, str] = {
    bool: "bool",
    int: "int",
    str: "text",
    datetime: "naive",  # or aware: see _kind_of
    float: "float",
    date: "date",
    Decimal: "decimal",
    UUID: "uuid",
    bytes: "bytes",
    bytearray: "bytes",
    memoryview: "bytes",
    time: "time",
    timedelta: "interval",
    list: "list",
    tuple: "list",
    dict: "dict",
}


def _kind_of(value: object) -> str:
    kind = _KINDS_BY_TYPE.get(type(value))
    if kind is None:
        kind = next((k for base, k in _KINDS_BY_TYPE.items() if isinstance(value, base)), None)
    if kind is None:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        message = (
            f"cannot make a cursor of a value of type {name}; order by another expression or by a "
            "text of it: cast(column, Text)"
        )
        raise PaginationError(message)
    if kind == "naive" and value.utcoffset() is not None:  # type: ignore[attr-defined]  # datetime
        return "aware"
    return kind


def _packed(value: object, kind: str, depth: int = 0) -> object:
    """Give what stands for a value, which is not None, under a key of the kind."""
    own = _kind_of(value)
    plain = _PACKERS[own](value) if own in _PACKERS else _container(value, depth)
    if own == kind:
        return plain
    if kind == "datetime_text" and own == "text":
        return _moment(str(plain))
    if own in _TAGS:
        return cbor2.CBORTag(_TAGS[own], plain)
    return plain if kind == "any" else cbor2.CBORTag(_PLAIN, plain)


def _container(value: Any, depth: int) -> object:  # noqa: ANN401  # a list, a tuple or a dict
    if depth == _MAX_NESTING:
        message = (
            f"cannot make a cursor of a value nested deeper than {_MAX_NESTING} levels; order by a "
            "part of it"
        )
        raise PaginationError(message)
    if not isinstance(value, dict):
        return [None if one is None else _packed(one, "any", depth + 1) for one in value]
    if not all(isinstance(key, str) for key in value):
        message = "cannot make a cursor of a dict with other keys than texts; order by a part of it"
        raise PaginationError(message)
    return {
        str.__str__(key): None if one is None else _packed(one, "any", depth + 1)
        for key, one in value.items()
    }


def _pack_aware(value: datetime) -> int | list[int]:
    # Of the base class: some subclasses answer with intervals of their own.
    microseconds = datetime.__sub__(value, _EPOCH_UTC) // _MICROSECOND
    if _FIRST_INSTANT <= microseconds <= _LAST_INSTANT:
        return microseconds
    # At the ends of the calendar the same instant has no date in UTC.
    return [_pack_naive(value.replace(tzinfo=None)), _offset(value)]


def _pack_naive(value: datetime) -> int:
    return datetime.__sub__(value, _EPOCH) // _MICROSECOND


def _pack_time(value: time) -> int | list[int]:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    microseconds = seconds * 1_000_000 + value.microsecond
    if value.utcoffset() is None:
        return microseconds
    return [microseconds, _offset(value)]


def _offset(value: datetime | time) -> int:
    return (value.utcoffset() or timedelta()) // _MICROSECOND


_FIRST_INSTANT = _pack_naive(datetime.min)
_LAST_INSTANT = _pack_naive(datetime.max)

_PACKERS: dict[str, Callable[[Any], object]] = {
    "int": int.__index__,
    "text": str.__str__,
    "naive": _pack_naive,
    "aware": _pack_aware,
    "float": float.__float__,
    "date": lambda value: value.toordinal() - _EPOCH_DAY,
    "decimal": Decimal.__str__,
    "uuid": lambda value: value.bytes,
    "bytes": bytes,
    "bool": bool,
    "time": _pack_time,
    "interval": lambda value: timedelta.__floordiv__(value, _MICROSECOND),
}


def _moment(text: str) -> int | str:
    """Give the microseconds that a text writes out in full, or the text."""
    if len(text) != 26:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return _pack_naive(moment) if moment.isoformat(" ", "microseconds") == text else text


# And back


def _unpacked(item: object, kind: str) -> object:
    wire, unpack = _UNPACKERS[kind]
    if type(item) is wire:
        return unpack(item) if unpack else item
    if isinstance(item, cbor2.CBORTag):
        return _unpacked(item.value, _KINDS_BY_TAG.get(item.tag, "any"))
    if kind == "any":
        return _natural(item)
    if kind == "datetime_text" and type(item) is str:
        return item
    if kind in ("aware", "time") and isinstance(item, (list, tuple)) and len(item) == 2:
        return _unpacked_offset(kind, *item)
    return _refused()


def _natural(item: object) -> object:
    # Below a tag the library makes immutable containers.
    if isinstance(item, (list, tuple)):
        return [_within(one) for one in item]
    if isinstance(item, Mapping):
        return {key: _within(one) for key, one in item.items()}
    return item


def _within(item: object) -> object:
    return None if item is None else _unpacked(item, "any")


def _unpacked_offset(kind: str, local: object, offset: object) -> object:
    if type(local) is not int or type(offset) is not int:
        return _refused()
    zone = timezone(timedelta(microseconds=offset))
    if kind == "time":
        return _unpack_time(local).replace(tzinfo=zone)
    return (_EPOCH + timedelta(microseconds=local)).replace(tzinfo=zone)


def _unpack_time(microseconds: int) -> time:
    if not 0 <= microseconds < _DAY_MICROSECONDS:
        raise InvalidCursor
    return (_EPOCH + timedelta(microseconds=microseconds)).time()


def _unpack_text_moment(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(" ", "microseconds")


def _refused() -> object:
    raise InvalidCursor


_UNPACKERS: dict[str, tuple[type, Callable[[Any], object] | None]] = {
    "int": (int, None),
    "text": (str, None),
    "naive": (int, lambda item: _EPOCH + timedelta(microseconds=item)),
    "aware": (int, lambda item: _EPOCH_UTC + timedelta(microseconds=item)),
    "datetime_text": (int, _unpack_text_moment),
    "float": (float, None),
    "date": (int, lambda item: date.fromordinal(item + _EPOCH_DAY)),
    "decimal": (str, Decimal),
    "uuid": (bytes, lambda item: UUID(bytes=item)),
    "bytes": (bytes, None),
    "bool": (bool, None),
    "time": (int, _unpack_time),
    "interval": (int, lambda item: timedelta(microseconds=item)),
    "list": (list, _natural),
    "any": (int, None),
}
_ONE_FORM = frozenset({int, str, bytes, bool, float, type(None)})
_SEVERAL_FORMS = frozenset({"decimal", "datetime_text"})


# The structure, before anything is made of it


_BIGNUMS = (2, 3)
_ALLOWED_TAGS = frozenset({*_BIGNUMS, _PLAIN, *_KINDS_BY_TAG})
_MAX_DEPTH = _MAX_NESTING + 4  # the outer array, two tags, a pair in the last one


def _end_of_item(data: bytes, position: int, depth: int) -> int:
    """Give where the item that begins at a position ends.

    Only tags of ours, lengths that are told and so much nesting may be in it; the library and the
    comparison with what `dumps` writes see to the rest.
    """
    major, argument = divmod(data[position], 32)
    position += 1
    if argument >= 24:
        if argument > 27:  # reserved, or of indefinite length
            raise InvalidCursor
        start, position = position, position + (1 << (argument - 24))
        if 2 <= major <= 6:  # numbers have no content behind them
            argument = int.from_bytes(data[start:position], "big")
    if major in (2, 3):
        position += argument
    elif major in (4, 5, 6):
        if depth == _MAX_DEPTH or (major == 6 and argument not in _ALLOWED_TAGS):
            raise InvalidCursor
        for _ in range((argument, 2 * argument, 1)[major - 4]):
            position = _end_of_item(data, position, depth + 1)
    if position > len(data):
        raise InvalidCursor
    return position
