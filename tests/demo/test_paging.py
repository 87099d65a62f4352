from __future__ import annotations

from sqlalchemy import Engine, create_engine

from sa_perf.demo.models import Base
from sa_perf.demo.paging import time_pages


def test_both_methods_give_the_deepest_page_of_january(january: Engine) -> None:
    by_key, by_number = time_pages(january)
    assert (by_key.method, by_number.method) == ("keyset", "offset")
    assert by_key.deep_page == by_number.deep_page == 541  # 27,004 flights
    assert by_key.same_rows
    assert by_number.same_rows


def test_a_table_of_one_page_gives_no_times() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    try:
        assert time_pages(engine) == ()
    finally:
        engine.dispose()
