from __future__ import annotations

import pytest

from sa_perf.dialects import dialect_for
from sa_perf.dialects.reserved_words import reserved_words


@pytest.mark.parametrize(
    ("database", "name", "quoted"),
    [
        ("sqlite", "order", '"order"'),
        ("sqlite", "user", "user"),
        ("postgresql", "user", '"user"'),
        ("mysql", "rank", "`rank`"),
        ("mariadb", "rows", "`rows`"),
        ("mariadb", "plain_2", "plain_2"),
    ],
)
def test_a_reserved_word_is_quoted(database: str, name: str, quoted: str) -> None:
    assert dialect_for(database).quote(name) == quoted


def test_an_unknown_database_reserves_nothing() -> None:
    assert reserved_words("no_such_database") == frozenset()
