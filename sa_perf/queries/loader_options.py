"""From what is loaded one by one to the code that loads it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sa_perf.queries.orm_loads import Loaded
    from sa_perf.queries.tally import Tally

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
    if loaded.kind == "lazy_load":
        return _of_lazy_load(tally, loaded)
    if loaded.kind == "own_query":
        return _of_collection(loaded)
    mapper = loaded.parent.mapper
    entity = mapper.class_.__name__
    if loaded.kind == "expired_reload":
        return Remedy(code=_EXPIRED.format(entity=entity), entity=entity)
    keys = loaded.keys or ()
    options = ", ".join(f"undefer({_declaring(mapper, key)}.{key})" for key in keys)
    return Remedy(
        code=f"select({entity}).options({options})", entity=entity, attribute=", ".join(keys)
    )


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


def _of_lazy_load(tally: Tally, loaded: Loaded) -> Remedy:
    relationship = loaded.relationship
    path = _path(tally, loaded)
    options = ".".join(_option(one) for one in path)
    recursive = relationship.mapper.isa(relationship.parent) and not _is_single(relationship)
    if recursive and len(path) == 1:
        options = f"selectinload({_named(relationship)}, recursion_depth=-1)"
    root = path[0].parent.class_.__name__
    return Remedy(
        code=f"select({root}).options({options})",
        entity=relationship.parent.class_.__name__,
        attribute=relationship.key,
        path=" -> ".join(_named(one) for one in path),
    )


def _path(tally: Tally, loaded: Loaded) -> list[Any]:
    """The relationships from the class that was asked for down to the one that is loaded."""
    before = [one for one in loaded.parent.load_path.path if hasattr(one, "direction")]
    path = [*before, loaded.relationship]
    if not before:
        # What was loaded one by one itself, in the same unit, came by no path that it knows of.
        while len(path) < _LONGEST_PATH:
            lead = _lead(tally, path)
            if lead is None:
                break
            path.insert(0, lead)
    return path


def _lead(tally: Tally, path: list[Any]) -> Any:  # noqa: ANN401
    parent = path[0].parent
    for other in list(tally.unit.tallies.values()):
        if other.kind != "lazy_load" or other.loaded is None or other.calls < 2:
            continue
        lead = other.loaded.relationship
        if lead not in path and lead.mapper.isa(parent) and lead is not path[0]._reverse_property:
            return lead
    return None


def _option(relationship: Any) -> str:  # noqa: ANN401
    """A JOIN for what is one row; a second SELECT for what is many."""
    name = "joinedload" if _is_single(relationship) else "selectinload"
    return f"{name}({_named(relationship)})"


def _is_single(relationship: Any) -> bool:  # noqa: ANN401
    return relationship.direction.name == _MANY_TO_ONE or not relationship.uselist


def _named(relationship: Any) -> str:  # noqa: ANN401
    return f"{relationship.parent.class_.__name__}.{relationship.key}"


def _of_collection(loaded: Loaded) -> Remedy:
    relationship = loaded.relationship
    parent = relationship.parent.class_.__name__
    child = relationship.mapper.class_.__name__
    foreign = [one.key for one in relationship.remote_side if relationship.secondary is None]
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


def _declaring(mapper: Any, key: str) -> str:  # noqa: ANN401
    """The class of a hierarchy that has an attribute first."""
    bases = [one for one in mapper.iterate_to_root() if one.has_property(key)]
    name: str = bases[-1].class_.__name__
    return name
