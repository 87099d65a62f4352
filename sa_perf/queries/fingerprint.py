"""Statement text -> normalised shape and stable id.

Two steps. `shape_of` is one pass of a regular expression over the tokens: literals, comments and
list lengths go, nothing is parsed; it is cheap enough for the caller's time. `canonical_shape` lets
sqlglot read a raw text and print it in one way of writing; it runs on the housekeeping thread or
while a snapshot is made, once a shape. The ids hold for every process, machine and Python version
(BLAKE2b of the shape's text, 64 bits).
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sa_perf.dialects import Dialect

__all__ = ["Fingerprinter", "fingerprint_of", "kind_of"]

#: Characters of a statement that are read; what follows does not change the shape. A generated
#: INSERT of 10 MB costs no more than this.
MAX_READ = 16_384
#: Characters kept of the shape of a longer text: a fixed number, so that the literals in what was
#: read may differ in length.
_KEPT_OF_LONG = 4_096
#: sqlglot takes about 1 ms per kB; longer shapes keep their token-level form.
MAX_PARSED = 4_096

_TOKENS = r"""
    (?P<comment>   --[^\n]*  |  {block_comment}  {hash_comment} )
  | (?P<postcompile> __\[POSTCOMPILE_[^\]]*\] )
  | (?P<string>    \b[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)
                 | (?:\b[xXbBnN]|\b[uU]&)?'(?:[^'{escape}]|''{escaped})*(?:'|\Z)
                 {dollar_quoted} {double_quoted} )
  | (?P<name>      "(?:[^"]|"")*(?:"|\Z)  |  `(?:[^`]|``)*(?:`|\Z) )
  | (?P<parameter> %\(\w+\)s  |  %s(?!\w)  |  (?<!:):\w+  |  \$\d+  |  \?\d* )
  | (?P<number>    (?<![\w$@:.])(?:0[xXoObB][0-9a-fA-F_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?
                 | \.\d[\d_]*(?:[eE][+-]?\d+)?)(?!\w) )
  | (?P<space>     \s+ )
"""
_DOLLAR_QUOTED = r"| (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)"
_LIST = re.compile(r"\bIN\s*\(\s*\?(?:\s*,\s*\?)*\s*\)", re.IGNORECASE)
_NAMED_LIST = re.compile(
    r"\bIN\s*\(\s*(?:%\(\w+\)s|%s|:\w+|\$\d+|\?)(?:\s*,\s*(?:%\(\w+\)s|%s|:\w+|\$\d+|\?))*\s*\)",
    re.IGNORECASE,
)
_ROWS = re.compile(r"(\(\s*\?(?:\s*,\s*\?)*\s*\))(?:\s*,\s*\(\s*\?(?:\s*,\s*\?)*\s*\)?)+")
#: A sign where no operand stands before it belongs to the literal.
_SIGNED = re.compile(
    r"((?:[=(,<>]|\b(?:AND|BETWEEN|ELSE|IN|LIMIT|OFFSET|OR|SELECT|THEN|WHEN))\s?)[-+]\s?\?",
    re.IGNORECASE,
)
_KIND = re.compile(r"[\s(]*([A-Za-z]+)")
_KINDS = {
    "select": "select", "with": "select", "values": "select", "table": "select",
    "insert": "insert", "replace": "insert", "update": "update", "delete": "delete",
    "merge": "update", "create": "ddl", "alter": "ddl", "drop": "ddl", "truncate": "ddl",
    "begin": "transaction", "start": "transaction", "commit": "transaction",
    "rollback": "transaction", "savepoint": "transaction", "release": "transaction",
    "call": "call", "exec": "call", "execute": "call", "do": "call",
}  # fmt: skip
#: PostgreSQL nests comments; a regular expression follows to this depth.
_COMMENT_DEPTH = 4
_LOGGER = logging.getLogger("sa_perf")


def fingerprint_of(shape: str) -> str:
    """Id of a shape: 16 hexadecimal digits, the same everywhere."""
    # A str may hold lone surrogates, which UTF-8 cannot; they must not break the id.
    data = shape.encode("utf-8", "backslashreplace")
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def kind_of(shape: str) -> str:
    """What a statement does, by its first word.

    One of select, insert, update, delete, ddl, transaction, call, utility. A ``WITH`` that ends in
    a write counts as select: the first word is all that is read.
    """
    match = _KIND.match(shape)
    return _KINDS.get(match.group(1).lower(), "utility") if match else "utility"


class Fingerprinter:
    """Shapes for the texts of one database.

    Args:
        dialect: whose quoting and sqlglot grammar apply.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._grammar = dialect.sqlglot_name
        backslash = dialect.backslash_escapes
        source = _TOKENS.format(
            block_comment=_block_comment(_COMMENT_DEPTH if dialect.nested_comments else 0),
            hash_comment=r"| \#[^\n]*" if dialect.hash_comments else "",
            escape=r"\\" if backslash else "",
            escaped=r"|\\." if backslash else "",
            dollar_quoted=_DOLLAR_QUOTED if dialect.dollar_strings else "",
            double_quoted=r'| "(?:[^"\\]|""|\\.)*(?:"|\Z)' if dialect.double_quoted_strings else "",
        )
        self._tokens = re.compile(source, re.VERBOSE | re.DOTALL)

    def shape_of(self, statement: str, *, raw: bool) -> str:
        """Take literals, comments, line breaks and list lengths out of a statement.

        Args:
            statement: as it goes to the driver, or the compiled text of SQLAlchemy.
            raw: the text was written by hand (``text()``, driver SQL), so the names of its
                parameters mean nothing; a compiled text keeps them.

        Returns:
            One line. Texts beyond 16,384 characters are read up to there.
        """
        head = statement[:MAX_READ]
        shape = self._tokens.sub(_without_parameters if raw else _with_parameters, head).strip()
        if raw:
            shape = _SIGNED.sub(r"\1?", shape)
        shape = (_LIST if raw else _NAMED_LIST).sub("IN (?)", shape)
        shape = _ROWS.sub(r"\1", shape)
        # A shape that ends in the middle of a word would depend on the literals before it.
        return shape if len(statement) <= MAX_READ else f"{_whole(shape)} ..."

    def canonical_shape(self, shape: str) -> str:
        """Print a raw text's shape in sqlglot's one way of writing.

        Costs about 1 ms; never called on the application's time. A text that sqlglot cannot read
        is returned as it is.
        """
        if len(shape) > MAX_PARSED:
            return shape
        import sqlglot
        from sqlglot.errors import SqlglotError

        from sa_perf.dialects.parsing import quiet_sqlglot

        try:
            with quiet_sqlglot():
                tree = sqlglot.parse_one(shape, read=self._grammar)
            if isinstance(tree, sqlglot.exp.Command):
                return shape
            return tree.sql(dialect=self._grammar, comments=False, normalize_functions="upper")
        except (SqlglotError, RecursionError):
            return shape
        except Exception:
            _LOGGER.debug(
                "sqlglot failed on a statement; its token-level shape stands", exc_info=True
            )
            return shape


def _block_comment(depth: int) -> str:
    inner = ""
    for _ in range(depth + 1):
        inner = rf"/\*(?:[^*/]|\*(?!/)|/(?!\*){'|' + inner if inner else '|/'})*(?:\*/|\Z)"
    return inner


def _with_parameters(match: re.Match[str]) -> str:
    group = match.lastgroup
    if group == "space" or group == "comment":
        return " "
    if group == "name" or group == "parameter":
        return match.group()
    return "?"


def _without_parameters(match: re.Match[str]) -> str:
    group = match.lastgroup
    if group == "space" or group == "comment":
        return " "
    return match.group() if group == "name" else "?"


def _whole(shape: str) -> str:
    """Cut the shape of a text that was not read to its end where its literals do not show."""
    values = re.search(r"\bVALUES\s*\(\s*\?(?:\s*,\s*\?)*\s*\)", shape, re.IGNORECASE)
    if values:
        return shape[: values.end()]
    lists = re.search(r"\bIN\s*\(\s*\?", shape, re.IGNORECASE)
    if lists and shape.count(")", lists.end()) == 0:
        return f"{shape[: lists.end()]})"
    return shape[:_KEPT_OF_LONG]
