"""The rows behind a row, as statements that an index serves. Pure.

A page is read from *segments*: conditions under which the rows of one stretch of the order are
found, each sorted by what is not constant in it. Most pages need one segment; a second one follows
where the page crosses a border, e.g. from values to NULLs. The forms per database are measured,
see docs/explanation/pagination.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, and_, false, or_, tuple_

if TYPE_CHECKING:
    from sa_perf.dialects.seeking import Seeking
    from sa_perf.pagination.ordering.keys import SortKey

__all__ = ["Nulls", "Segment", "first_page", "order_by", "page_after", "parameter_name"]

Expression: TypeAlias = ColumnElement[Any]
Condition: TypeAlias = ColumnElement[bool]
#: For each sort key, whether the row's value is NULL.
Nulls: TypeAlias = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of the order.

    Attributes:
        conditions: all hold for its rows, and for no other row of the stretches before and after.
        keys: by which its rows are sorted; the others are constant in it.
    """

    conditions: tuple[Condition, ...]
    keys: tuple[SortKey, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A sort key with the value of the row to go on from."""

    key: SortKey
    name: str
    is_null: bool

    @property
    def column(self) -> Expression:
        return self.key.value.compare(self.key.expression)

    @property
    def parameter(self) -> Expression:
        return self.key.value.parameter(self.name)

    def behind(self) -> Condition:
        """The values behind the row's own, NULLs left out; the row's own is not NULL."""
        column, parameter = self.column, self.parameter
        return column < parameter if self.key.descending else column > parameter

    def not_before(self) -> Condition:
        column, parameter = self.column, self.parameter
        return column <= parameter if self.key.descending else column >= parameter

    def same(self) -> Condition:
        if self.is_null:
            return self.key.expression.is_(None)
        return self.column == self.parameter


def parameter_name(index: int) -> str:
    """Name of the bind parameter for the value of a sort key."""
    return f"sa_perf_after_{index}"


def first_page(keys: Sequence[SortKey], seeking: Seeking) -> list[Segment]:
    """The stretches of the whole order."""
    return _all(tuple(keys), (), seeking)


def page_after(
    keys: Sequence[SortKey], nulls: Nulls, seeking: Seeking, *, tied: bool
) -> list[Segment]:
    """The stretches from a row on, the row itself included.

    Args:
        keys: a total order, never empty.
        nulls: of the row.
        seeking: the database's rules.
        tied: many rows share the value of the first key.
    """
    places = [_Place(key, parameter_name(index), nulls[index]) for index, key in enumerate(keys)]
    return _after(places, (), seeking, tied=tied)


def order_by(keys: Sequence[SortKey], seeking: Seeking) -> list[Expression]:
    """The elements of ORDER BY for a stretch."""
    elements: list[Expression] = []
    for key in keys:
        direction = key.expression.desc() if key.descending else key.expression.asc()
        default = key.descending == seeking.nulls_largest
        if not key.nullable or key.nulls_first == default:
            elements.append(direction)
        elif seeking.nulls_clause:
            placed = direction.nulls_first() if key.nulls_first else direction.nulls_last()
            elements.append(placed)
        else:
            is_null = key.expression.is_(None)
            elements += [is_null.desc() if key.nulls_first else is_null.asc(), direction]
    return elements


def _all(
    keys: tuple[SortKey, ...], conditions: tuple[Condition, ...], seeking: Seeking
) -> list[Segment]:
    """All rows under some conditions; NULLs of the first key apart where no index has them so."""
    if not keys:
        return [Segment(conditions, ())]
    lead = keys[0]
    if not lead.nullable or lead.nulls_first == (lead.descending == seeking.nulls_largest):
        return [Segment(conditions, keys)]
    values = [Segment((*conditions, lead.expression.is_not(None)), _led(keys))]
    nulls = _all(keys[1:], (*conditions, lead.expression.is_(None)), seeking)
    nulls = _of_nulls(lead, nulls, seeking)
    return [*nulls, *values] if lead.nulls_first else [*values, *nulls]


def _after(
    places: Sequence[_Place],
    conditions: tuple[Condition, ...],
    seeking: Seeking,
    *,
    tied: bool,
) -> list[Segment]:
    if not places:
        return [Segment(conditions, ())]
    lead, rest = places[0], places[1:]
    keys = tuple(place.key for place in places)
    column = lead.key.expression
    if lead.is_null:
        segments = _after(rest, (*conditions, column.is_(None)), seeking, tied=False)
        segments = _of_nulls(lead.key, segments, seeking)
        if lead.key.nulls_first:
            segments.append(Segment((*conditions, column.is_not(None)), _led(keys)))
        return segments
    if _equality_first(lead, rest, seeking, tied=tied):
        segments = _after(rest, (*conditions, lead.same()), seeking, tied=False)
        segments.append(Segment((*conditions, lead.behind()), _led(keys)))
    else:
        segments = [Segment((*conditions, _range(places, seeking)), _led(keys))]
    if lead.key.nullable and not lead.key.nulls_first:
        nulls = _all(keys[1:], (*conditions, column.is_(None)), seeking)
        segments += _of_nulls(lead.key, nulls, seeking)
    return segments


def _led(keys: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """The keys of a stretch in which the first one is not NULL.

    Where NULLs would stand is not said then: an index in its usual order serves it.
    """
    return (replace(keys[0], nullable=False), *keys[1:])


def _of_nulls(lead: SortKey, segments: list[Segment], seeking: Seeking) -> list[Segment]:
    """The stretches in which a key is NULL.

    PostgreSQL takes a key for constant where it equals something, not where it is NULL; so the key
    stays in ORDER BY there, or an index on all keys would not be seen to have the others in order.
    MariaDB would sort for that.
    """
    if seeking.null_is_constant:
        return segments
    first = replace(lead, nullable=False)
    return [Segment(one.conditions, (first, *one.keys)) for one in segments]


def _equality_first(lead: _Place, rest: Sequence[_Place], seeking: Seeking, *, tied: bool) -> bool:
    """Whether rows that share the first value are sought apart from those behind it."""
    if not rest or not seeking.equality_first or not (tied or lead.key.few_values):
        return False
    return not (seeking.row_values and _is_row_value([lead, *rest]))


def _is_row_value(places: Sequence[_Place]) -> bool:
    """Whether one row comparison says it: no NULLs, and one direction for all."""
    directions = {place.key.descending for place in places}
    nullable = any(place.key.nullable for place in places[1:])
    return len(places) > 1 and len(directions) == 1 and not nullable


def _range(places: Sequence[_Place], seeking: Seeking) -> Condition:
    """The rows from the anchor on whose first key is not NULL; nor is the anchor's."""
    if seeking.row_values and _is_row_value(places):
        left = tuple_(*(place.column for place in places))
        right = tuple_(*(place.parameter for place in places))
        return left <= right if places[0].key.descending else left >= right
    mixed = len({place.key.descending for place in places}) > 1
    return _expanded(places) if seeking.expanded and mixed else _nested(places)


# Of the first key these forms want no NULLs (they are a segment of their own); of the keys behind
# it they do, where rows share what came before.


def _nested(places: Sequence[_Place]) -> Condition:
    """``a >= x AND (a > x OR (b >= y AND ...))``: seeks on the first key."""
    place, rest = places[0], places[1:]
    if not rest:
        return place.not_before()
    return and_(place.not_before(), or_(place.behind(), _nested_within(rest)))


def _nested_within(places: Sequence[_Place]) -> Condition:
    place, rest = places[0], places[1:]
    if not place.key.nullable or (place.key.nulls_first and not place.is_null):
        return _nested(places)
    same = place.same()
    return or_(_behind(place), and_(same, _nested_within(rest)) if rest else same)


def _expanded(places: Sequence[_Place]) -> Condition:
    """``a > x OR (a = x AND b < y)``: what MariaDB makes ranges of."""
    return _expanded_from(places, places[0].behind())


def _expanded_from(places: Sequence[_Place], behind: Condition) -> Condition:
    place, rest = places[0], places[1:]
    if rest:
        return or_(behind, and_(place.same(), _expanded_from(rest, _behind(rest[0]))))
    # One range instead of two, where the last key's value is one.
    return or_(behind, place.same() if place.is_null else place.not_before())


def _behind(place: _Place) -> Condition:
    """The values behind the row's own, NULLs included."""
    column = place.key.expression
    if place.is_null:
        return column.is_not(None) if place.key.nulls_first else false()
    if place.key.nullable and not place.key.nulls_first:
        return or_(place.behind(), column.is_(None))
    return place.behind()
