"""Whether running a statement would do nothing but read.

What sqlglot cannot read does not pass: this guards statements that are truly run.
"""

from __future__ import annotations

import re

from sa_perf.dialects import Dialect
from sa_perf.dialects.parsing import quiet_sqlglot
from sa_perf.errors import ExplainRefused

__all__ = ["require_read"]

#: Older versions of sqlglot take it for a column.
_NEXT_VALUE = re.compile(r"\bNEXT\s+VALUE\s+FOR\b", re.IGNORECASE)
_INSTEAD = "explain it without analyze=True, which runs nothing"


def require_read(statement: str, dialect: Dialect) -> None:
    """Refuse a statement that may do more than read.

    Args:
        statement: as it goes to the driver.
        dialect: of the database, with the driver's paramstyle.

    Raises:
        ExplainRefused: it writes, locks rows, calls a function that acts, or cannot be read.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    kind = dialect.lexer.require_explainable(statement)
    if kind not in ("select", "with", "values"):
        raise ExplainRefused(f"analyze would carry out this {kind.upper()}; {_INSTEAD}")
    if _NEXT_VALUE.search(dialect.lexer.redact(statement)):
        raise ExplainRefused(f"NEXT VALUE FOR does more than read; {_INSTEAD}")
    text = dialect.lexer.rewrite(statement, dialect.paramstyle, lambda key: ":value")
    try:
        with quiet_sqlglot():
            trees = sqlglot.parse(text, read=dialect.sqlglot_name)
    except (SqlglotError, RecursionError) as error:
        raise ExplainRefused(
            f"the statement cannot be read, so it may be more than a read; {_INSTEAD}"
        ) from error
    tree = trees[0] if len(trees) == 1 else None
    if tree is None:
        raise ExplainRefused(f"one statement is needed; {_INSTEAD}")
    writes = (exp.DML, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.DDL)
    for node in tree.walk():
        if isinstance(node, exp.Query):
            if node.args.get("locks"):
                raise ExplainRefused(f"analyze would lock rows (FOR UPDATE or SHARE); {_INSTEAD}")
        elif isinstance(node, (*writes, exp.Command)):
            raise ExplainRefused(f"the statement holds a {node.key.upper()}; {_INSTEAD}")
        elif isinstance(node, exp.Func):
            name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
            if dialect.acts(name) or dialect.acts(node.key):
                raise ExplainRefused(f"{name.lower()}() does more than read; {_INSTEAD}")
    for word in dialect.lexer.words(statement):
        # sqlglot knows some calls by other names, such as NEXT VALUE FOR.
        if dialect.acts(word) or word == "nextval":
            raise ExplainRefused(f"{word}() does more than read; {_INSTEAD}")
