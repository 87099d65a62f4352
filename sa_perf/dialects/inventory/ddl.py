"""Statements and Alembic operations that mend a schema, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sa_perf.dialects.inventory.facts import Counter, SchemaIndex, SchemaTable

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["DDL", "MySQLDDL", "PostgreSQLDDL", "Remedy", "SQLiteDDL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What mends a fault.

    Attributes:
        sql: one statement, or a sentence where no statement does.
        alembic: the same as a line of a migration; None where there is none.
        index: SQLAlchemy's ``Index(...)`` for the model; None where none is made.
        caution: what to know before, as a sentence; None where there is nothing.
    """

    sql: str
    alembic: str | None = None
    index: str | None = None
    caution: str | None = None


class DDL:
    """The words of one database.

    Args:
        dialect: SQLAlchemy's, of a connection where possible: it knows the default schema.
    """

    #: Appended to Alembic's operations that build or drop an index beside running writes.
    _beside: ClassVar[str] = ""
    #: Alembic changes a table by making it anew.
    _batch: ClassVar[bool] = False

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self._preparer = dialect.identifier_preparer
        # Drivers with %s as placeholder want % doubled; a person who copies a name does not.
        self._doubles = "%%" in self._preparer.quote_identifier("%")

    def quote(self, name: str) -> str:
        """A name as it must stand in SQL."""
        quoted = self._preparer.quote(name)
        return quoted.replace("%%", "%") if self._doubles else quoted

    def qualified(self, table: SchemaTable, name: str | None = None) -> str:
        """The table's name, or another one in its schema, with the schema where it is needed."""
        own = self.quote(table.name if name is None else name)
        return own if table.is_default_schema else f"{self.quote(table.schema)}.{own}"

    def drop_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """Without an index."""
        if index.constraint is not None:
            return self.drop_constraint(table, index.constraint)
        return Remedy(
            sql=self._drop_index_sql(table, index),
            alembic=self._op(
                "drop_index", index.name, f"table_name={_python(table.name)}", table,
                beside=not table.partitioned,
            ),
        )  # fmt: skip

    def drop_constraint(self, table: SchemaTable, name: str) -> Remedy:
        """Without a unique constraint and the index that was made for it."""
        return Remedy(
            sql=f"ALTER TABLE {self.qualified(table)} DROP CONSTRAINT {self.quote(name)}",
            alembic=self._op(
                "drop_constraint", name, f'{_python(table.name)}, type_="unique"', table
            ),
        )

    def create_index(self, table: SchemaTable, name: str, columns: Sequence[str]) -> Remedy:
        """With an index on columns."""
        keys = ", ".join(self.quote(column) for column in columns)
        listed = ", ".join(_python(column) for column in columns)
        return Remedy(
            sql=f"{self._create_index_head(table, name)} ON {self.qualified(table)} ({keys})",
            alembic=self._op(
                "create_index", name, f"{_python(table.name)}, [{listed}]", table,
                beside=not table.partitioned,
            ),
            index=f"sa.Index({_python(name)}, {listed})",
            caution="CONCURRENTLY is not to be had for a partitioned table: writes wait meanwhile."
            if table.partitioned and self._beside
            else None,
        )  # fmt: skip

    def rebuild_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """With a broken index made whole."""
        return self.drop_index(table, index)

    def add_key(self, table: SchemaTable) -> Remedy:
        """With a primary key."""
        if table.partitioned:
            return Remedy(
                sql=f"Give {table.fullname} a primary key, with the columns of its partitions in it"
            )
        return self._add_key(table)

    def key_from_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """With a primary key from the columns of a unique index."""
        columns = [part.column or "" for part in index.parts]
        keys = ", ".join(map(self.quote, columns))
        listed = ", ".join(map(_python, columns))
        return Remedy(
            sql=f"ALTER TABLE {self.qualified(table)} ADD PRIMARY KEY ({keys})",
            alembic=self._op(
                "create_primary_key",
                f"pk_{table.name}",
                f"{_python(table.name)}, [{listed}]",
                table,
            ),
        )

    def widen(self, counter: Counter) -> Remedy:
        """With more numbers to give out."""
        return Remedy(sql=f"Give {counter.column or counter.sequence} a wider type")

    def _add_key(self, table: SchemaTable) -> Remedy:
        raise NotImplementedError

    def _drop_index_sql(self, table: SchemaTable, index: SchemaIndex) -> str:
        return f"DROP INDEX {self.qualified(table, index.name)}"

    def _create_index_head(self, table: SchemaTable, name: str) -> str:
        return f"CREATE INDEX {self.quote(name)}"

    def _executed(self, sql: str, *, caution: str | None = None) -> Remedy:
        """A statement for which Alembic has no operation of its own."""
        return Remedy(sql=sql, alembic=f"op.execute({_python(sql)})", caution=caution)

    def _op(
        self, operation: str, name: str, rest: str, table: SchemaTable, *, beside: bool = False
    ) -> str:
        schema = "" if table.is_default_schema else f", schema={_python(table.schema)}"
        if not (beside and self._beside):
            return f"op.{operation}({_python(name)}, {rest}{schema})"
        call = f"op.{operation}({_python(name)}, {rest}{schema}{self._beside})"
        return f"with op.get_context().autocommit_block(): {call}"


class SQLiteDDL(DDL):
    """SQLite: a table's keys and types change by making it anew."""

    def _create_index_head(self, table: SchemaTable, name: str) -> str:
        # The schema stands at the index, and the table is looked for there.
        return f"CREATE INDEX {self.qualified(table, name)}"

    def create_index(self, table: SchemaTable, name: str, columns: Sequence[str]) -> Remedy:
        """See `DDL.create_index`."""
        made = super().create_index(table, name, columns)
        keys = ", ".join(self.quote(column) for column in columns)
        sql = f"{self._create_index_head(table, name)} ON {self.quote(table.name)} ({keys})"
        return Remedy(sql=sql, alembic=made.alembic, index=made.index)

    def _add_key(self, table: SchemaTable) -> Remedy:
        return Remedy(
            sql=f"Make {self.qualified(table)} anew with a primary key: SQLite adds none",
            alembic=f"with op.batch_alter_table({_python(table.name)}) as batch: "
            f'batch.create_primary_key({_python(f"pk_{table.name}")}, ["..."])',
        )

    def key_from_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """See `DDL.key_from_index`."""
        listed = ", ".join(_python(part.column or "") for part in index.parts)
        return Remedy(
            sql=f"Make {self.qualified(table)} anew with its unique columns as primary key",
            alembic=f"with op.batch_alter_table({_python(table.name)}) as batch: "
            f"batch.create_primary_key({_python(f'pk_{table.name}')}, [{listed}])",
        )

    def widen(self, counter: Counter) -> Remedy:
        """See `DDL.widen`."""
        return Remedy(
            sql="No rowid is greater than 2^63-1: find out what made one so great, and number the "
            "rows anew"
        )


class PostgreSQLDDL(DDL):
    """PostgreSQL: indexes come and go beside running writes."""

    _beside = ", postgresql_concurrently=True"

    def _drop_index_sql(self, table: SchemaTable, index: SchemaIndex) -> str:
        beside = "" if table.partitioned else "CONCURRENTLY "
        return f"DROP INDEX {beside}{self.qualified(table, index.name)}"

    def _create_index_head(self, table: SchemaTable, name: str) -> str:
        return f"CREATE INDEX {'' if table.partitioned else 'CONCURRENTLY '}{self.quote(name)}"

    def rebuild_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """See `DDL.rebuild_index`."""
        name = self.qualified(table, index.name)
        if table.partitioned:
            return Remedy(
                sql="Make the index on each partition that lacks it (CREATE INDEX CONCURRENTLY), "
                f"then for each: ALTER INDEX {name} ATTACH PARTITION ..."
            )
        left_over = index.name.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        if left_over and index.constraint is None:
            return self.drop_index(table, index)
        sql = f"REINDEX INDEX CONCURRENTLY {name}"
        return Remedy(
            sql=sql,
            alembic=f"with op.get_context().autocommit_block(): op.execute({_python(sql)})",
            caution="If nobody needs it, drop it instead. A unique one is built only if no two "
            "rows share a key."
            if index.unique
            else "If nobody needs it, drop it instead.",
        )

    def _add_key(self, table: SchemaTable) -> Remedy:
        column = "id" if table.column("id") is None else f"{table.name}_id"
        return Remedy(
            sql=f"ALTER TABLE {self.qualified(table)} ADD COLUMN {self.quote(column)} bigint "
            "GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            alembic=f"op.add_column({_python(table.name)}, sa.Column({_python(column)}, "
            f"sa.BigInteger(), sa.Identity(), primary_key=True){self._schema_of(table)})",
            caution="Where columns that are there tell the rows apart, make those the primary key. "
            "A new column has the table written anew, and nobody can read it meanwhile.",
        )

    def key_from_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """See `DDL.key_from_index`."""
        made = super().key_from_index(table, index)
        if table.partitioned or index.pinned is not None:
            return made
        if index.constraint is not None:
            keys = ", ".join(self.quote(part.column or "") for part in index.parts)
            return self._executed(
                f"ALTER TABLE {self.qualified(table)} DROP CONSTRAINT "
                f"{self.quote(index.constraint)}, ADD PRIMARY KEY ({keys})"
            )
        return Remedy(
            sql=f"ALTER TABLE {self.qualified(table)} ADD PRIMARY KEY USING INDEX "
            f"{self.quote(index.name)}",
            alembic=made.alembic,
        )

    def widen(self, counter: Counter) -> Remedy:
        """See `DDL.widen`."""
        sequence = self._widen_sequence(counter)
        if not (counter.limited_by_column and counter.table and counter.column):
            return sequence
        table = SchemaTable(
            name=counter.table,
            schema=counter.schema,
            is_default_schema=counter.is_default_schema,
        )
        sql = f"ALTER TABLE {self.qualified(table)} ALTER COLUMN {self.quote(counter.column)}"
        alembic = (
            f"op.alter_column({_python(counter.table)}, {_python(counter.column)}, "
            f"type_=sa.BigInteger(){self._schema_of(table)})"
        )
        both = counter.limited_by_sequence
        return Remedy(
            sql=f"{sql} TYPE bigint{f'; {sequence.sql}' if both else ''}",
            alembic=f"{alembic}{f'; {sequence.alembic}' if both else ''}",
            caution="The table is written anew, and nobody can read it meanwhile; of a big one "
            "fill another column in batches and change places. Widen what refers to it too.",
        )

    def _widen_sequence(self, counter: Counter) -> Remedy:
        if counter.sequence is None:
            return super().widen(counter)
        name = SchemaTable(
            name=counter.sequence,
            schema=counter.sequence_schema or "",
            is_default_schema=counter.sequence_schema == counter.schema
            and counter.is_default_schema,
        )
        end = "MINVALUE" if counter.increment < 0 else "MAXVALUE"
        sql = f"ALTER SEQUENCE {self.qualified(name)} AS bigint NO {end}"
        return self._executed(sql)

    def _schema_of(self, table: SchemaTable) -> str:
        return "" if table.is_default_schema else f", schema={_python(table.schema)}"


class MySQLDDL(DDL):
    """MySQL and MariaDB: an index is its table's."""

    def key_from_index(self, table: SchemaTable, index: SchemaIndex) -> Remedy:
        """See `DDL.key_from_index`."""
        keys = ", ".join(self.quote(part.column or "") for part in index.parts)
        return self._executed(
            f"ALTER TABLE {self.qualified(table)} DROP INDEX {self.quote(index.name)}, "
            f"ADD PRIMARY KEY ({keys})"
        )

    def _drop_index_sql(self, table: SchemaTable, index: SchemaIndex) -> str:
        return f"DROP INDEX {self.quote(index.name)} ON {self.qualified(table)}"

    def _add_key(self, table: SchemaTable) -> Remedy:
        column = "id" if table.column("id") is None else f"{table.name}_id"
        sql = (
            f"ALTER TABLE {self.qualified(table)} ADD COLUMN {self.quote(column)} BIGINT UNSIGNED "
            "NOT NULL AUTO_INCREMENT PRIMARY KEY"
        )
        return self._executed(
            sql,
            caution="Where columns that are there tell the rows apart, make those the primary key. "
            "A new column has the table written anew.",
        )

    def widen(self, counter: Counter) -> Remedy:
        """See `DDL.widen`."""
        if counter.table is None or counter.column is None:
            name = SchemaTable(
                name=counter.sequence or "",
                schema=counter.schema,
                is_default_schema=counter.is_default_schema,
            )
            sql = f"ALTER SEQUENCE {self.qualified(name)} NO MAXVALUE"
            return self._executed(sql)
        table = SchemaTable(
            name=counter.table,
            schema=counter.schema,
            is_default_schema=counter.is_default_schema,
        )
        unsigned = " UNSIGNED" if "unsigned" in (counter.column_type or "") else ""
        sql = (
            f"ALTER TABLE {self.qualified(table)} MODIFY {self.quote(counter.column)} "
            f"BIGINT{unsigned} NOT NULL AUTO_INCREMENT"
        )
        return self._executed(
            sql,
            caution="The table is written anew. Columns that refer to it must have the same "
            "type: drop those foreign keys, widen both, make them again.",
        )


def _python(name: str) -> str:
    """A name as a literal of Python's, in double quotes where that is simple."""
    text = repr(name)
    simple = text.startswith("'") and '"' not in text and "\\'" not in text
    return f'"{text[1:-1]}"' if simple else text
