"""An index as code to paste: SQLAlchemy's Index(), Alembic's operations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from sa_perf.dialects import Dialect
from sa_perf.dialects.index_trials.definition import IndexDefinition, IndexKey

__all__ = ["drop_operation", "index_code", "upgrade_operation"]

#: What text() takes for a parameter, and a backslash that it would take away.
_READ_BY_TEXT = re.compile(r"\\(?=:)|(?<![:\w\\]):(?=\w+(?!:))")


def index_code(index: IndexDefinition, dialect: Dialect, *, name: str) -> str:
    """``Index("ix_...", "a", text("b DESC"))``, for a model's ``__table_args__`` or a Table.

    Args:
        index: to be made.
        dialect: whose options are named.
        name: of the index.
    """
    index = index.written_for(dialect)
    parts = [_quoted(name), *(_key(key, dialect, "text") for key in index.keys)]
    return f"Index({', '.join([*parts, *_options(index, dialect, 'text')])})"


def upgrade_operation(index: IndexDefinition, dialect: Dialect, *, name: str) -> str:
    """``op.create_index(...)``; where others may write meanwhile, outside of a transaction.

    Args:
        index: to be made.
        dialect: whose options are named.
        name: of the index.
    """
    index = index.written_for(dialect)
    keys = ", ".join(_key(key, dialect, "sa.text") for key in index.keys)
    parts = [_quoted(name), _quoted(index.table), f"[{keys}]", *_schema(index)]
    parts += _options(index, dialect, "sa.text")
    return _operation("create_index", parts, dialect)


def drop_operation(index: IndexDefinition, dialect: Dialect, *, name: str) -> str:
    """``op.drop_index(...)``, which undoes `upgrade_operation`."""
    parts = [_quoted(name), f"table_name={_quoted(index.table)}", *_schema(index)]
    return _operation("drop_index", parts, dialect)


def _operation(function: str, parts: Iterable[str], dialect: Dialect) -> str:
    if not dialect.concurrent_indexes:
        return f"op.{function}({', '.join(parts)})"
    listed = ", ".join([*parts, f"{dialect.name}_concurrently=True"])
    return f"with op.get_context().autocommit_block():\n    op.{function}({listed})"


def _key(key: IndexKey, dialect: Dialect, text: str) -> str:
    down = " DESC" if key.descending else ""
    if key.column is None:
        behind = f" {key.suffix}" if key.suffix else ""
        return f"{text}({_escaped(f'({key.expression}){behind}{down}')})"
    behind = "" if _is_operator_class(key, dialect) or not key.suffix else f" {key.suffix}"
    if not behind and not down:
        return _quoted(key.column)
    return f"{text}({_escaped(f'{dialect.quote(key.column)}{behind}{down}')})"


def _options(index: IndexDefinition, dialect: Dialect, text: str) -> list[str]:
    found = []
    classes = {
        key.column: key.suffix
        for key in index.keys
        if key.column is not None and not key.descending and _is_operator_class(key, dialect)
    }
    if classes:
        listed = ", ".join(f"{_quoted(name)}: {_quoted(one)}" for name, one in classes.items())
        found.append(f"{dialect.name}_ops={{{listed}}}")
    if index.include:
        found.append(f"{dialect.name}_include=[{', '.join(map(_quoted, index.include))}]")
    if index.predicate is not None:
        found.append(f"{dialect.name}_where={text}({_escaped(index.predicate)})")
    return found


def _is_operator_class(key: IndexKey, dialect: Dialect) -> bool:
    """Whether what stands behind a key is named by an option of its own."""
    plain = key.suffix.isidentifier() and not key.descending
    return dialect.operator_classes and plain


def _schema(index: IndexDefinition) -> list[str]:
    return [] if index.schema is None else [f"schema={_quoted(index.schema)}"]


def _escaped(sql: str) -> str:
    """SQL as ``text()`` takes it."""
    return _quoted(_READ_BY_TEXT.sub(lambda found: f"\\{found.group()}", sql))


def _quoted(text: str) -> str:
    # Python reads what JSON writes.
    return json.dumps(text, ensure_ascii=not text.isprintable())
