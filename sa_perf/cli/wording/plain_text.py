"""Text that came from elsewhere, made harmless and short enough to show.

A statement is written by whoever can send one: it may hold escape sequences that move a terminal's
cursor or retitle its window, or marks that turn the direction of writing. Here they become visible.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["clauses", "one_line", "shortened", "summary_of", "visible"]

# Control, format (direction marks among them), surrogate, line and paragraph separators.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SUSPECT = re.compile(r"[^\n\x20-\x7e]")
_SHORTEST = 8
_KEPT_COLUMNS = 24
_WORDS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[()]|\s+
    |(?:(?:LEFT|RIGHT|FULL|INNER|CROSS)\s+(?:OUTER\s+)?)?JOIN\b
    |GROUP\s+BY\b|ORDER\s+BY\b|FOR\s+UPDATE\b
    |\w+|[^\w\s]""",
    re.VERBOSE | re.IGNORECASE,
)
_TABLE = re.compile(r"""\b(?:FROM|INTO|UPDATE|TABLE)\s+([\w."`\[\]]+)""", re.IGNORECASE)
_STARTS_A_LINE = re.compile(
    r"(FROM|WHERE|HAVING|LIMIT|OFFSET|UNION|INTERSECT|EXCEPT|VALUES|SET|RETURNING|AND"
    r"|(\w+\s+){0,2}JOIN|(GROUP|ORDER)\s+BY|FOR\s+UPDATE)",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    r"""The text with every character that would act instead of show as ``\x1b`` or ``\u202e``.

    Line ends stay; a tab becomes four spaces.
    """
    return _SUSPECT.sub(_shown, text.replace("\r\n", "\n").replace("\t", "    "))


def one_line(text: str) -> str:
    """The visible text with every run of white space as one space."""
    return " ".join(visible(text).split())


def shortened(text: str, width: int, *, ellipsis: str = "…") -> str:
    """One line of at most ``width`` characters; what does not fit is left out of the middle.

    Of a SELECT the list of columns goes first, then the order, for what it reads from and by which
    condition says more.

    Args:
        text: a statement, usually.
        width: characters, >= 1; below 8 the end is cut off.
        ellipsis: stands for what was left out.
    """
    line = one_line(text)
    if len(line) <= width:
        return line
    if width < _SHORTEST:
        return line[: max(0, width - len(ellipsis))] + ellipsis[:width]
    some, none = (_without_columns(line, ellipsis, keep) for keep in (_KEPT_COLUMNS, 0))
    line = _without_order(none, ellipsis)
    for shorter in (some, none, line):
        if len(shorter) <= width:
            return shorter
    gap = f" {ellipsis} "
    room = width - len(gap)
    head = line[: room - room * 2 // 5].rstrip()
    tail = line[len(line) - room * 2 // 5 :].lstrip()
    # Cut between words where that costs little.
    head_cut = head.rpartition(" ")[0]
    tail_cut = tail.partition(" ")[2]
    head = head_cut if len(head_cut) > len(head) // 3 else head
    tail = tail_cut if len(tail_cut) > len(tail) // 3 else tail
    return f"{head}{gap}{tail}"


def clauses(statement: str) -> str:
    """The statement with each clause on a line of its own, where it stands in no parenthesis.

    One that has line ends of its own keeps them.
    """
    text = visible(statement).strip()
    if "\n" in text:
        return text
    parts: list[str] = []
    depth = 0
    after_between = False
    for word in _WORDS.findall(text):
        depth = max(0, depth + {"(": 1, ")": -1}.get(word, 0))
        upper = word.upper()
        joins_between = after_between and upper == "AND"
        after_between = upper == "BETWEEN" or (after_between and upper != "AND")
        if depth == 0 and parts and not joins_between and _STARTS_A_LINE.fullmatch(word):
            while parts and parts[-1].isspace():
                parts.pop()
            parts.append("\n  " if upper == "AND" else "\n")
        parts.append(word)
    return "".join(parts)


def summary_of(statement: str, width: int) -> str:
    """The statement in a few words, such as ``SELECT flights``, of at most ``width`` characters."""
    line = one_line(statement)
    verb = line.partition(" ")[0]
    table = _TABLE.search(line)
    text = f"{verb} {table[1]}" if table else line
    return text if len(text) <= width else f"{text[: max(1, width - 1)]}…"


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _HARMFUL:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _without_columns(line: str, ellipsis: str, keep: int) -> str:
    """A SELECT with at most ``keep`` characters of its columns, cut behind one of them."""
    start = len("SELECT ")
    end = _place_of("FROM", line)
    if line[:start].upper() != "SELECT " or end is None:
        return line
    columns = line[start:end].strip()
    if len(columns) <= _KEPT_COLUMNS:
        return line
    kept = columns[:keep]
    kept = kept.rpartition(",")[0] + "," if "," in kept else kept
    return " ".join(filter(None, ["SELECT", kept, ellipsis, line[end:]]))


def _without_order(line: str, ellipsis: str) -> str:
    """A SELECT without its ORDER BY and what stands behind that."""
    end = _place_of("ORDER BY", line)
    if line[:7].upper() != "SELECT " or end is None:
        return line
    return f"{line[:end]}{ellipsis}"


def _place_of(wanted: str, line: str) -> int | None:
    """Where a word in capitals stands in no parenthesis; None where it does not."""
    depth = 0
    place = 0
    for word in _WORDS.findall(line):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word.upper() == wanted:
            return place
        place += len(word)
    return None
