"""From what is loaded one by one to the code that loads it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sa_perf.queries.orm_loads import Loaded
    from sa_perf.queries.tally import Tally, Unit

__all__ = ["Remedy", "remedy_for"]

_MANY_TO_ONE = "MANYTOONE"
#: A chain of options longer than this helps nobody.
_LONGEST_PATH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to write, and the names in it.

    Attributes:
        code: an expression, or a sentence where there is none.
        entity: class whose objects it is about.
        attribute: the relationship, or columns with commas between.
        path: from the class that was asked for, ``User.orders -> Order.items``.
    """

    code: str
    entity: str | None = None
    attribute: str | None = None
    path: str | None = None

    @property
    def name(self) -> str | None:
        """``User.orders``."""
        return None if self.attribute is None else f"{self.entity}.{self.attribute}"


def remedy_for(tally: Tally) -> Remedy:
    """The remedy of a repetition."""
    loaded = tally.loaded
    if loaded is None:
        return Remedy(code=_INSERT if tally.kind == "single_insert" else _SAME_SELECT)
    if loaded.kind == "own_query":
        return _of_collection(loaded.relationship)
    if loaded.kind == "lazy_load":
        return _of_lazy_load(_Route.to(loaded.parent, tally.unit), loaded.relationship)
    if loaded.kind == "deferred_columns":
        return _of_columns(_Route.to(loaded.parent, tally.unit), loaded)
    entity = _name(loaded.parent.mapper)
    return Remedy(code=_EXPIRED.format(entity=entity), entity=entity)


_SAME_SELECT = (
    "keep the result of the first and hand it on; for one object by its primary key, "
    "session.get() looks into the session before it asks the database"
)
_INSERT = (
    "collect the rows and send them at once: session.add_all(objects) and one flush, or "
    "connection.execute(insert(table), rows) with a list of rows"
)
_EXPIRED = (
    "{entity} objects are read after commit() expired them: read before the commit, commit once "
    "behind the loop, or make the session with Session(expire_on_commit=False)"
)
_ANCESTORS = (
    ", which reads level by level; or all ancestors at once by a recursive CTE, "
    "select(...).cte(recursive=True): the relationship finds them in the session"
)


@dataclass(frozen=True, slots=True)
class _Route:
    """How the ORM came to an object.

    Attributes:
        root: what was asked for, a mapper or an alias.
        steps: relationships from there.
    """

    root: Any
    steps: tuple[Any, ...]

    @classmethod
    def to(cls, state: Any, unit: Unit) -> _Route:  # noqa: ANN401  # an InstanceState
        """The route to an object, as far as it is known.

        An object that was loaded lazily knows one step only; where that is loaded one by one in the
        same unit, it tells the steps before.
        """
        route = cls._known(state)
        while route.steps and len(route.steps) < _LONGEST_PATH:
            lead = _lazily_loaded(route.steps[0], unit)
            before = None if lead is None else cls._known(lead)
            if before is None or not set(before.steps).isdisjoint(route.steps):
                break
            route = cls(before.root, (*before.steps, *route.steps))
            if not before.steps:
                break
        return route

    @classmethod
    def _known(cls, state: Any) -> _Route:  # noqa: ANN401
        path = state.load_path.path
        return cls(path[0] if path else state.mapper, tuple(filter(_is_relationship, path)))

    def query(self, owner: Any = None, column: str = "") -> str:  # noqa: ANN401
        """The query for the root, with loader options along the route.

        Args:
            owner: mapper of the class that has the columns which are asked of the last one.
            column: options for these, with ``{entity}`` in the place of the class.
        """
        entity, asked = self.root.mapper, _name(self.root.mapper)
        name, options, chain = asked, [], []
        if self.root.is_aliased_class:
            asked, name = f"entity := {_alias(self.root)}", "entity"
        needed = [*(one.parent for one in self.steps), owner]
        if needed[0] is not None and not entity.isa(needed[0]):
            if needed[0] not in self.root.with_polymorphic_mappers:
                options.append(f"selectin_polymorphic({name}, [{_name(needed[0])}])")
            entity = needed[0]
            name = f"{name}.{_name(entity)}" if self.root.is_aliased_class else _name(entity)
        for at, relationship in enumerate(self.steps):
            if at and relationship is self.steps[at - 1]:
                continue
            attribute, entity = f"{name}.{relationship.key}", relationship.mapper
            if needed[at + 1] is not None and not entity.isa(needed[at + 1]):
                entity = needed[at + 1]
                attribute = f"{attribute}.of_type({_name(entity)})"
            recursive = relationship in self.steps[at + 1 :]
            chain.append(_option(relationship, attribute, recursive=recursive))
            name = _name(entity)
        chain += [column.format(entity=name)] if column else []
        return f"select({asked}).options({', '.join([*options, '.'.join(chain)])})"


def _is_relationship(one: Any) -> bool:  # noqa: ANN401  # an element of a path
    return hasattr(one, "direction")


def _alias(alias: Any) -> str:  # noqa: ANN401  # an AliasedInsp
    base = _name(alias.mapper)
    below = [_name(one) for one in alias.with_polymorphic_mappers if one is not alias.mapper]
    return f"with_polymorphic({base}, [{', '.join(below)}])" if below else f"aliased({base})"


def _lazily_loaded(relationship: Any, unit: Unit) -> Any:  # noqa: ANN401
    """An object whose relationship was loaded lazily in a unit; None where there is none."""
    for tally in list(unit.tallies.values()):
        loaded = tally.loaded if tally.kind == "lazy_load" else None
        if loaded is not None and loaded.relationship is relationship:
            return loaded.parent
    return None


def _option(relationship: Any, name: str, *, recursive: bool) -> str:  # noqa: ANN401
    """A JOIN for what is one row; a second SELECT for what is many."""
    if recursive:
        return f"selectinload({name}, recursion_depth=-1)"
    return f"joinedload({name})" if _is_single(relationship) else f"selectinload({name})"


def _is_single(relationship: Any) -> bool:  # noqa: ANN401
    return relationship.direction.name == _MANY_TO_ONE or not relationship.uselist


def _of_lazy_load(route: _Route, relationship: Any) -> Remedy:  # noqa: ANN401
    whole = _Route(route.root, (*route.steps, relationship))
    steps = dict.fromkeys(f"{_name(one.parent)}.{one.key}" for one in whole.steps)
    code = whole.query()
    if relationship in route.steps and _is_single(relationship):
        code += _ANCESTORS
    return Remedy(
        code=code,
        entity=_name(relationship.parent),
        attribute=relationship.key,
        path=" -> ".join(steps),
    )


def _of_columns(route: _Route, loaded: Loaded) -> Remedy:
    mapper, keys = loaded.parent.mapper, loaded.keys or ()
    owner = max((_declaring(mapper, key) for key in keys), key=_depth)
    between = "." if route.steps else ", "
    undefer = between.join(f"undefer({{entity}}.{key})" for key in keys)
    return Remedy(
        code=route.query(owner, undefer),
        entity=_name(mapper),
        attribute=", ".join(keys),
    )


def _of_collection(relationship: Any) -> Remedy:  # noqa: ANN401
    parent, child = _name(relationship.parent), _name(relationship.mapper)
    remote = () if relationship.secondary is not None else relationship.remote_side
    foreign = [_attribute(relationship.mapper, one) for one in remote]
    own = [one.key for one in relationship.local_columns]
    if len(foreign) == len(own) == 1:
        code = (
            f"select({child}.{foreign[0]}, func.count()).where({child}.{foreign[0]}.in_(ids))"
            f".group_by({child}.{foreign[0]}) counts for many {parent} at once; without the "
            f"count and GROUP BY it reads the rows of all"
        )
    else:
        code = (
            f"one statement for many {parent}: join {child} to it, WHERE the key of {parent} "
            "is IN a list, GROUP BY where it counts"
        )
    return Remedy(
        code=code, entity=parent, attribute=relationship.key, path=f"{parent}.{relationship.key}"
    )


def _attribute(mapper: Any, column: Any) -> str:  # noqa: ANN401
    """The attribute that has a column: it may have a name of its own."""
    names = [one.key for one in mapper.column_attrs if column in one.columns]
    return str(names[0] if names else column.key)


def _name(mapper: Any) -> str:  # noqa: ANN401
    name: str = mapper.class_.__name__
    return name


def _declaring(mapper: Any, key: str) -> Any:  # noqa: ANN401
    """The class of a hierarchy that has an attribute first."""
    return [one for one in mapper.iterate_to_root() if one.has_property(key)][-1]


def _depth(mapper: Any) -> int:  # noqa: ANN401
    return len(list(mapper.iterate_to_root()))
