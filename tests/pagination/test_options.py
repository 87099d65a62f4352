from __future__ import annotations

import re
from typing import Any

import pytest

from sa_perf.errors import PaginationError
from sa_perf.pagination import CursorSigner, keyset, offset, select

SIGNER = CursorSigner(["a key that only these tests have, of some length"])


def test_a_scope_that_is_no_tuple_or_list_is_refused_with_what_to_give(shop: Any) -> None:
    stmt = select(shop.Author)
    for scope, told in (
        ("tenant", "scope is 'tenant'; give a tuple: ('tenant',)"),
        (7, "scope is 7; give a tuple: (7,)"),
        (b"tenant", "give a tuple: (b'tenant',)"),
        (None, "scope is None; give a tuple, () for none"),
        ({"tenant": 7}, "scope is a dict; give a tuple of its values"),
        ({7}, "scope is a set; give a tuple"),
        ((one for one in "ab"), "scope is a generator; give a tuple"),
        ({7: 1}.values(), "scope is a dict_values; give a tuple"),
    ):
        with pytest.raises(PaginationError, match=re.escape(told)):
            keyset(stmt, signer=SIGNER, scope=scope)  # type: ignore[arg-type]


def test_a_list_is_a_scope_and_what_is_in_it_is_checked(shop: Any) -> None:
    stmt = select(shop.Author)
    with shop.session() as session:
        cursor = keyset(stmt, size=3, signer=SIGNER, scope=["a", 1]).page(session).next_cursor
        same = keyset(stmt, size=3, signer=SIGNER, scope=("a", 1))
        assert len(same.page(session, cursor)) == 3
    with pytest.raises(PaginationError, match="scope holds dict, object; allowed are numbers"):
        keyset(stmt, signer=SIGNER, scope=("a", {}, object()))


@pytest.mark.parametrize("signer", [["x" * 40], b"x" * 40, ("x" * 40,), 7, CursorSigner])
def test_a_signer_that_is_none_is_refused_at_once_without_showing_it(
    shop: Any, signer: Any
) -> None:
    with pytest.raises(PaginationError, match=r"signer is .*CursorSigner\(\[key\]\)") as caught:
        keyset(select(shop.Author), signer=signer)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("paged", [keyset, offset])
def test_numbers_that_are_none_are_refused_by_name(shop: Any, paged: Any) -> None:
    stmt = select(shop.Author)
    for options, told in (
        ({"max_size": "100"}, "max_size is '100'; allowed is a whole number from 1 on"),
        ({"max_size": 0}, "max_size is 0; allowed is a whole number from 1 on"),
        ({"max_size": True}, "max_size is True; allowed is a whole number from 1 on"),
        ({"size": 201}, "size is 201; allowed is a whole number from 1 to 200"),
        ({"size": "5"}, "size is '5'; allowed is a whole number from 1 to 200"),
        ({"size": 10**5000}, "size is a number of 16610 bits; allowed is"),
    ):
        with pytest.raises(PaginationError, match=re.escape(told)):
            paged(stmt, **options)


def test_a_page_number_is_refused_with_the_numbers_that_there_are(shop: Any) -> None:
    stmt = select(shop.Author)
    with shop.session() as session:
        for pager, told in (
            (offset(stmt, max_page=5), "number is 0; allowed is a whole number from 1 to 5"),
            (offset(stmt), r"number is 0; allowed is a whole number from 1 on$"),
        ):
            with pytest.raises(PaginationError, match=told):
                pager.page(session, 0)
