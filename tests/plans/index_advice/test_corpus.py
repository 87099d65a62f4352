from __future__ import annotations

from collections import Counter

import pytest
from corpus import SCHEMAS, generate
from corpus.running import run
from sqlalchemy import text


def test_the_corpus_is_large_and_half_of_it_needs_no_index() -> None:
    queries = [query for schema in SCHEMAS for query in schema.queries]
    assert len({query.name for query in queries}) == len(queries)
    assert Counter(bool(query.expected) for query in queries) == {True: 85, False: 51}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_every_query_runs_on_every_database(schema, db) -> None:
    engine = db.engine()
    generate(engine, schema, scale=0.005)
    with engine.connect() as connection:
        for query in schema.queries_of(engine.dialect.name):
            for values in query.values(schema.rows(0.005)):
                run(connection, query.said_to(engine.dialect.name), values)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_rows_are_the_same_everywhere(schema, sqlite_database, postgresql_database) -> None:
    seen = []
    for database in (sqlite_database, postgresql_database):
        engine = database.engine()
        generate(engine, schema, scale=0.005, statistics=False)
        with engine.connect() as connection:
            tables = schema.metadata.sorted_tables
            seen.append([connection.execute(one.select().limit(50)).all() for one in tables])
    assert seen[0] == seen[1]


def test_views_are_made(sqlite_database) -> None:
    engine = sqlite_database.engine()
    generate(engine, SCHEMAS[0], scale=0.005)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM unshipped_orders")).scalar_one()
