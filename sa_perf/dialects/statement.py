"""Reading a statement's text without parsing it: tokens only.

Enough to say whether a statement may be explained, where its placeholders are, and to take its
literals out. Linear in the text's length, about 0.3 us a token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sa_perf.errors import ExplainRefused

__all__ = ["Lexer", "Placeholder", "first_parameters", "written_values"]

EXPLAINABLE = frozenset(
    {"select", "with", "insert", "update", "delete", "replace", "merge", "values"}
)
_WRITES = frozenset({"insert", "update", "delete", "merge"})

_TOKENS = r"""
    (?P<comment>   --{after_dashes}[^\n]*  |  /\*(?:[^*]|\*(?!/))*(?:\*/|\Z)  {hash_comment} )
  | (?P<string>    {escape_string}
                   (?:\b[xXbBnN] | \b[uU]&)?'(?:[^'{escape}]|''{escaped})*(?:'|\Z)
                   {dollar_string} {double_quoted} )
  | (?P<name>      "(?:[^"]|"")*(?:"|\Z)  |  `(?:[^`]|``)*(?:`|\Z)  {bracketed} )
  | (?P<placeholder> {placeholder} )
  | (?P<word>      [^\W\d][\w$]* {numbered} )
  | (?P<number>    0[xX][0-9a-fA-F]+ | \d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?
                   | \.\d+(?:[eE][+-]?\d+)? )
"""
_PLACEHOLDERS = {
    "qmark": r"\?\d*",
    "named": r"(?<![:\w]):[^\W\d]\w*",
    "numeric": r"(?<![:\w]):\d+",
    "numeric_dollar": r"\$\d+",
    "format": r"%s",
    "pyformat": r"%\(\w+\)s|%s",
}
#: What a text of unknown origin may hold: a plan, an error, a statement of any paramstyle.
_ANY_PLACEHOLDER = r"\$\d+|%\(\w+\)s|%s|\?\d*|(?<![:\w]):[^\W\d]\w*"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A place in a statement where a bind value goes.

    Attributes:
        start: offset of its first character.
        end: offset after its last one.
        key: name or number by which the parameters hold its value; from 0 by position.
    """

    start: int
    end: int
    key: str | int


class Lexer:
    """Tokens of one database's SQL.

    Args:
        backslash_escapes: a backslash in a string takes the next character along.
        hash_comments: ``#`` begins a comment, and ``--`` only where a space follows.
        nested_comments: ``/* /* */ */`` is one comment.
        double_quoted_strings: ``"..."`` is a string, not a name.
        dollar_strings: ``$tag$...$tag$`` and ``E'...'`` are strings.
        bracketed_names: ``[...]`` is a name.
        numbered_names: ``name#1`` is one name, as plans number their subqueries.
    """

    def __init__(
        self,
        *,
        backslash_escapes: bool = False,
        hash_comments: bool = False,
        nested_comments: bool = False,
        double_quoted_strings: bool = False,
        dollar_strings: bool = False,
        bracketed_names: bool = False,
        numbered_names: bool = False,
    ) -> None:
        self._parts = {
            "after_dashes": r"(?=\s|\Z)" if hash_comments else "",
            "hash_comment": r"| \#[^\n]*" if hash_comments else "",
            "escape_string": r"\b[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z) |" if dollar_strings else "",
            "escape": r"\\" if backslash_escapes else "",
            "escaped": r"|\\." if backslash_escapes else "",
            "dollar_string": r"| \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)" if dollar_strings else "",
            "double_quoted": r'| "(?:[^"\\]|""|\\.)*(?:"|\Z)' if double_quoted_strings else "",
            "bracketed": r"| \[[^\]]*\]" if bracketed_names else "",
            "numbered": r"(?:\#\d+)?" if numbered_names else "",
        }
        self._executable_comments = hash_comments
        self._nested_comments = nested_comments
        self._patterns: dict[str, re.Pattern[str]] = {}

    def redact(self, text: str) -> str:
        """Put ``?`` in the place of every string and number; drop comments."""
        return self._pattern(_ANY_PLACEHOLDER).sub(_redacted, text)

    def words(self, text: str) -> set[str]:
        """Every name and keyword of a text, unquoted, in lower case."""
        found = set()
        for token in self._pattern(_ANY_PLACEHOLDER).finditer(text):
            if token.lastgroup == "word":
                found.add(token.group().casefold())
            elif token.lastgroup == "name" or (
                token.lastgroup == "string" and token.group()[0] == '"'
            ):
                found.add(token.group()[1:-1].casefold())
        return found

    def placeholders(self, statement: str, paramstyle: str) -> list[Placeholder]:
        """The bind places of a statement, in the order of its text.

        Args:
            statement: as it goes to the driver.
            paramstyle: the driver's, by PEP 249, or SQLAlchemy's ``"numeric_dollar"``.
        """
        if paramstyle in ("format", "pyformat"):
            # Such drivers substitute everywhere, in strings and comments too.
            matches: Iterator[re.Match[str]] = re.finditer(r"%%|%\(\w+\)s|%s", statement)
            matches = (match for match in matches if match.group() != "%%")
        else:
            pattern = self._pattern(_PLACEHOLDERS.get(paramstyle, r"\?\d*"))
            matches = (m for m in pattern.finditer(statement) if m.lastgroup == "placeholder")
        found = []
        position = 0
        for match in matches:
            key = _key_of(match.group(), position)
            position += isinstance(key, int) and match.group() in ("?", "%s")
            found.append(Placeholder(match.start(), match.end(), key))
        return found

    def rewrite(self, statement: str, paramstyle: str, new: Callable[[str | int], str]) -> str:
        """Put ``new(key)`` in the place of each placeholder and undo the doubling of ``%``."""
        parts = []
        last = 0
        undouble = paramstyle in ("format", "pyformat")
        for place in self.placeholders(statement, paramstyle):
            parts += [statement[last : place.start], new(place.key)]
            last = place.end
        parts.append(statement[last:])
        return "".join(part.replace("%%", "%") if undouble else part for part in parts)

    def require_explainable(self, statement: str) -> str:
        """Return the statement's kind, or refuse it.

        Raises:
            ExplainRefused: it is no SELECT, WITH, VALUES, INSERT, UPDATE, DELETE, REPLACE or MERGE;
                it holds more than one statement, an executable comment, a comment within a
                comment where that counts, or a ``SELECT ... INTO``.
        """
        kind = ""
        ended = False
        into = False
        wrote = False
        for token in self._code(statement):
            if ended:
                raise ExplainRefused("more than one statement in one text; explain them one by one")
            ended = token == ";"  # noqa: S105 -- SQL, no password
            if not kind and token[0].isalpha():
                kind = token
                if kind not in EXPLAINABLE:
                    break
            wrote = wrote or (kind == "with" and token in _WRITES)
            into = into or (token == "into" and not wrote)  # noqa: S105 -- an SQL keyword
        if kind not in EXPLAINABLE:
            known = ", ".join(sorted(EXPLAINABLE)).upper()
            raise ExplainRefused(f"{kind.upper() or 'nothing'!r} has no plan; these have: {known}")
        if into and kind in ("select", "values", "with"):
            raise ExplainRefused("SELECT ... INTO writes; explain the SELECT without its INTO")
        return kind

    def statements(self, text: str) -> Iterator[str]:
        """Yield the statements of a text, which end in ``;`` or with it.

        Without empty ones, and without the comments before each.
        """
        begin = last = 0
        ends = []
        for token in self._pattern(_ANY_PLACEHOLDER).finditer(text):
            ends += [last + at for at, one in enumerate(text[last : token.start()]) if one == ";"]
            last = token.end()
        ends += [last + at for at, one in enumerate(text[last:]) if one == ";"]
        for end in (*ends, len(text)):
            statement = text[begin:end].strip()
            first = next(self._pattern(_ANY_PLACEHOLDER).finditer(statement), None)
            while first is not None and first.start() == 0 and first.lastgroup == "comment":
                statement = statement[first.end() :].strip()
                first = next(self._pattern(_ANY_PLACEHOLDER).finditer(statement), None)
            if first is not None:
                yield statement
            begin = end + 1

    def with_marks(self, text: str) -> str:
        """Put ``?`` in the place of every placeholder of any paramstyle, outside of literals."""

        def marked(token: re.Match[str]) -> str:
            return "?" if token.lastgroup == "placeholder" else token.group()

        return self._pattern(_ANY_PLACEHOLDER).sub(marked, text)

    def names_and_marks(self, statement: str) -> Iterator[str]:
        """Yield words, quoted names and each other character of the code; literals as ``?``."""
        last = 0
        for token in self._pattern(_ANY_PLACEHOLDER).finditer(statement):
            yield from "".join(statement[last : token.start()].split())
            last = token.end()
            if token.lastgroup in ("word", "name"):
                yield token.group()
            elif token.lastgroup != "comment":
                yield "?"
        yield from "".join(statement[last:].split())

    def _code(self, statement: str) -> Iterator[str]:
        """Yield words in lower case and ``;`` as they stand outside of literals and comments."""
        last = 0
        for token in self._pattern(_ANY_PLACEHOLDER).finditer(statement):
            if ";" in statement[last : token.start()]:
                yield ";"
            last = token.end()
            group = token.lastgroup
            if group == "comment":
                # The server runs what stands in /*! ... */ and /*M! ... */.
                if self._executable_comments and re.match(r"/\*M?!", token.group()):
                    raise ExplainRefused("it holds an executable comment (/*! ... */); take it out")
                # Where it ends for the server is not where it ends here.
                if self._nested_comments and re.match(r"/\*.*/\*", token.group(), re.DOTALL):
                    raise ExplainRefused("it holds a comment within a comment; take that out")
            elif group == "word":
                yield token.group().lower()
            else:
                yield "?"
        if ";" in statement[last:]:
            yield ";"

    def _pattern(self, placeholder: str) -> re.Pattern[str]:
        pattern = self._patterns.get(placeholder)
        if pattern is None:
            source = _TOKENS.format(placeholder=placeholder, **self._parts)
            pattern = self._patterns[placeholder] = re.compile(source, re.VERBOSE | re.DOTALL)
        return pattern


def first_parameters(parameters: object) -> Mapping[str, object] | Sequence[object] | None:
    """One set of bind values out of what a driver was given; None where there is none.

    Args:
        parameters: a mapping, a sequence of values, or a sequence of either (``executemany``).
    """
    if parameters is None or isinstance(parameters, (str, bytes)):
        return None
    if isinstance(parameters, Mapping):
        return parameters
    if not isinstance(parameters, Sequence):
        return None
    if parameters and isinstance(parameters, list):
        first = parameters[0]
        if isinstance(first, Mapping):
            return first
        if isinstance(first, (tuple, list)):
            return first
    return parameters


def written_values(parameters: object) -> list[str]:
    """One set of bind values as texts, the longest first; without those that have none."""
    values = first_parameters(parameters)
    texts = []
    for value in values.values() if isinstance(values, Mapping) else values or ():
        with suppress(Exception):  # the application's own class
            texts.append(str(value))
    return sorted(texts, key=len, reverse=True)


def _key_of(text: str, position: int) -> str | int:
    if text in ("?", "%s"):
        return position
    name = text.strip("%()?:$")
    name = name[:-2] if text.startswith("%(") else name
    return int(name) - 1 if name.isdecimal() and not text.startswith("%") else name


def _redacted(match: re.Match[str]) -> str:
    group = match.lastgroup
    if group == "comment":
        return " "
    return "?" if group in ("string", "number", "tag") else match.group()
