"""Tokens: what comes back, what is refused, and what shows."""

from __future__ import annotations

import base64
import pickle
import random
import string
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

import sa_perf
from sa_perf.errors import (
    ExpiredCursor,
    InvalidCursor,
    InvalidSettings,
    MissingExtra,
    PaginationError,
)
from sa_perf.pagination.cursors.payload import Anchor, dumps, loads
from sa_perf.pagination.cursors.signer import MAX_TOKEN_LENGTH, CursorSigner
from sa_perf.settings import Settings

KEY, OLD_KEY, OTHER_KEY = "new-key-for-the-tests", "old-key-for-the-tests", "someone-elses-long-key"
BINDING = b"articles by created_at, id"
KINDS = ["naive", "int"]
PAYLOAD = dumps(Anchor((datetime(2026, 3, 1, 12, 30, 45, 123456), 12_345_678)), KINDS)
NOW = 1_790_000_000.0
URL_SAFE = {*string.ascii_letters, *string.digits, *"-_."}


class Clock:
    """A clock that the test sets."""

    def __init__(self, seconds: float = NOW) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def signed(**options: object) -> CursorSigner:
    return CursorSigner([KEY, OLD_KEY], **{"now": Clock(), **options})


def encrypted(**options: object) -> CursorSigner:
    return signed(encrypt=True, **options)


def unsigned() -> CursorSigner:
    return CursorSigner.unsigned()


Make = Callable[..., CursorSigner]
NO_LIBRARY = find_spec("cryptography") is None
sealed = pytest.mark.skipif(NO_LIBRARY, reason="encryption is an extra")
secret = pytest.mark.parametrize("make", [signed, pytest.param(encrypted, marks=sealed)])
every = pytest.mark.parametrize("make", [signed, pytest.param(encrypted, marks=sealed), unsigned])


# What comes back


@every
@given(payload=st.binary(min_size=1, max_size=200), binding=st.binary(max_size=200))
def test_a_payload_comes_back_from_a_token_for_urls(make: Make, payload, binding) -> None:
    signer = make()
    token = signer.sign(payload, binding)
    assert set(token) <= URL_SAFE
    assert signer.unsign(token, binding) == payload


@pytest.mark.parametrize(
    ("make", "length"), [(signed, 50), pytest.param(encrypted, 47, marks=sealed), (unsigned, 26)]
)
def test_a_datetime_and_a_number_make_a_short_token(make: Make, length: int) -> None:
    assert (len(PAYLOAD), len(make().sign(PAYLOAD, BINDING))) == (15, length)


@secret
def test_another_process_with_the_same_keys_reads_a_token(make: Make) -> None:
    assert make().unsign(make().sign(PAYLOAD, BINDING), BINDING) == PAYLOAD


def test_a_token_at_hand_is_still_read() -> None:
    # Cursors outlive a deployment: a change of the format needs another name in the derivation.
    token = "ghsABkv1o6lpgBoAvGFO.arE7gA.zg_E4Z6v-zu8G4iCFb5f2w"
    assert signed().unsign(token, BINDING) == PAYLOAD


# Whose token


@secret
def test_a_token_of_an_old_key_is_read_and_new_ones_are_of_the_new_key(make: Make) -> None:
    encrypt = make is encrypted
    old = CursorSigner([OLD_KEY], encrypt=encrypt, now=Clock())
    new = CursorSigner([KEY], encrypt=encrypt, now=Clock())
    assert make().unsign(old.sign(PAYLOAD, BINDING), BINDING) == PAYLOAD
    assert new.unsign(make().sign(PAYLOAD, BINDING), BINDING) == PAYLOAD
    with pytest.raises(InvalidCursor):
        new.unsign(old.sign(PAYLOAD, BINDING), BINDING)


@secret
def test_a_token_of_a_strange_key_is_refused(make: Make) -> None:
    stranger = CursorSigner([OTHER_KEY], encrypt=make is encrypted, now=Clock())
    with pytest.raises(InvalidCursor):
        make().unsign(stranger.sign(PAYLOAD, BINDING), BINDING)


@every
@pytest.mark.parametrize("other", [b"", BINDING + b"x", BINDING[:-1], b"tenant 8", b"x" * 5_000])
def test_a_token_of_another_list_is_refused(make: Make, other: bytes) -> None:
    signer = make()
    for one, two in ((BINDING, other), (other, BINDING)):
        with pytest.raises(InvalidCursor):
            signer.unsign(signer.sign(PAYLOAD, one), two)


@secret
def test_a_token_of_another_salt_is_refused(make: Make) -> None:
    one, two = make(salt="ab"), make(salt="a")
    for binding in (b"c", b"bc"):
        with pytest.raises(InvalidCursor):
            two.unsign(one.sign(PAYLOAD, b"c"), binding)


@sealed
def test_signed_encrypted_and_unsigned_tokens_are_not_taken_for_each_other() -> None:
    signers = [signed(), encrypted(), unsigned()]
    for maker in signers:
        token = maker.sign(PAYLOAD, BINDING)
        for reader in signers:
            if reader is not maker:
                with pytest.raises(InvalidCursor):
                    reader.unsign(token, BINDING)


def test_many_lists_are_told_apart() -> None:
    signer = signed()
    tokens = [signer.sign(PAYLOAD, f"list {number}".encode()) for number in range(600)]
    assert len({token.rpartition(".")[2] for token in tokens}) == 600
    for number, token in enumerate(tokens):
        assert signer.unsign(token, f"list {number}".encode()) == PAYLOAD


# Its age


@secret
@pytest.mark.parametrize("max_age", [60, 60.9, timedelta(minutes=1)])
def test_a_token_is_read_until_it_is_too_old(make: Make, max_age) -> None:
    clock = Clock()
    signer = make(max_age=max_age, now=clock)
    token = signer.sign(PAYLOAD, BINDING)
    clock.seconds = NOW + 60
    assert signer.unsign(token, BINDING) == PAYLOAD
    clock.seconds = NOW + 61
    with pytest.raises(ExpiredCursor) as refused:
        signer.unsign(token, BINDING)
    assert str(refused.value) == "the cursor has expired; begin again without one"


@secret
def test_a_token_is_read_for_ever_without_an_age(make: Make) -> None:
    clock = Clock()
    signer = make(now=clock)
    token = signer.sign(PAYLOAD, BINDING)
    clock.seconds = NOW * 2
    assert signer.unsign(token, BINDING) == PAYLOAD


@secret
def test_the_clock_of_another_server_may_be_a_minute_ahead(make: Make) -> None:
    token = make(now=Clock(NOW + 60)).sign(PAYLOAD, BINDING)
    late = make(now=Clock(NOW + 61)).sign(PAYLOAD, BINDING)
    reader = make(max_age=3_600)
    assert reader.unsign(token, BINDING) == PAYLOAD
    with pytest.raises(ExpiredCursor):
        reader.unsign(late, BINDING)


@secret
def test_a_strange_token_is_invalid_whatever_its_age(make: Make) -> None:
    old = CursorSigner([OTHER_KEY], encrypt=make is encrypted, now=Clock(0))
    with pytest.raises(InvalidCursor) as refused:
        make(max_age=60).unsign(old.sign(PAYLOAD, BINDING), BINDING)
    assert not isinstance(refused.value, ExpiredCursor)


# What strangers send


@every
@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "...", "a", "=", "====", "a.b", "a.b.c", ".a.", " ", "\n", "\0", "é",
        "\ud800", "\U0001d538", "\u0663", "%2e", "null", "0", "-", "_", "A" * 50,
        *("." * MAX_TOKEN_LENGTH, "A" * MAX_TOKEN_LENGTH, "A" * (MAX_TOKEN_LENGTH + 1)),
        "A" * 10_000_000,
        None, b"abc", 5, 1.5, [], {}, object(), ("a",), True,
    ],
    ids=lambda token: f"{token!a:.30}",
)  # fmt: skip
def test_what_is_no_token_is_refused(make: Make, token) -> None:
    with pytest.raises(InvalidCursor):
        make().unsign(token, BINDING)


@every
def test_each_character_of_a_token_counts(make: Make) -> None:
    signer = make()
    token = signer.sign(PAYLOAD, BINDING)
    for place in range(len(token)):
        for other in sorted(URL_SAFE | set("=+/ \n%é")):
            if other != token[place]:
                with pytest.raises(InvalidCursor):
                    signer.unsign(token[:place] + other + token[place + 1 :], BINDING)


@every
def test_a_token_with_something_between_or_around_is_refused(make: Make) -> None:
    # base64 in Python leaves out what is not of its alphabet.
    signer = make()
    token = signer.sign(PAYLOAD, BINDING)
    for place in range(len(token) + 1):
        for more in ("=", "==", "!", "\n", " ", ".", "A"):
            with pytest.raises(InvalidCursor):
                signer.unsign(token[:place] + more + token[place:], BINDING)


@every
def test_a_token_that_is_cut_is_refused(make: Make) -> None:
    signer = make()
    token = signer.sign(PAYLOAD, BINDING)
    for place in range(len(token)):
        for part in (token[:place], token[place + 1 :], token[:place] + token[place + 1 :]):
            with pytest.raises(InvalidCursor):
                signer.unsign(part, BINDING)


@secret
@pytest.mark.parametrize("rounds", [2_000, pytest.param(100_000, marks=pytest.mark.exhaustive)])
def test_a_flood_of_forged_tokens_is_refused(make: Make, rounds: int) -> None:
    chance = random.Random(20260301)
    signer = make(max_age=3_600)
    strangers = [
        CursorSigner([OTHER_KEY], now=Clock()),
        signed(salt="other"),
        CursorSigner.unsigned(),
        *([CursorSigner([OTHER_KEY], encrypt=True, now=Clock())] if make is encrypted else []),
    ]
    genuine = [signer.sign(bytes([n]) * (n + 1), BINDING) for n in range(40)]
    for _ in range(rounds):
        token = forged(chance, genuine, strangers)
        if token not in genuine:
            with pytest.raises(InvalidCursor):
                loads(signer.unsign(token, BINDING), KINDS)


def forged(chance: random.Random, genuine: list[str], strangers: list[CursorSigner]) -> str:
    token = chance.choice(genuine)
    other = chance.choice(genuine)
    place, end = sorted(chance.choices(range(len(token) + 1), k=2))
    letters = "".join(chance.choices(sorted(URL_SAFE), k=chance.randrange(1, 4)))
    way = chance.randrange(7)
    if way == 0:
        return token[:place] + letters + token[place + len(letters) :]
    if way == 1:
        return token[:place] + token[end:]
    if way == 2:
        return token[:place] + letters + token[place:]
    if way == 3:
        return token[:place] + other[place:]
    if way == 4:
        return chance.choice(strangers).sign(chance.randbytes(chance.randrange(1, 60)), BINDING)
    if way == 5:
        return base64.urlsafe_b64encode(chance.randbytes(chance.randrange(60))).decode()
    return "".join(chr(chance.choice((chance.randrange(128), chance.randrange(0x11000))))
                   for _ in range(chance.randrange(80)))  # fmt: skip


@pytest.mark.parametrize("rounds", [2_000, pytest.param(100_000, marks=pytest.mark.exhaustive)])
def test_a_flood_on_unsigned_cursors_gives_anchors_or_is_refused(rounds: int) -> None:
    # Whoever knows the format can write one; what must not be is another error.
    chance = random.Random(20260301)
    signer = CursorSigner.unsigned()
    read = 0
    for _ in range(rounds):
        raw = bytearray(PAYLOAD)
        for _ in range(chance.randrange(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            anchor = loads(signer.unsign(signer.sign(bytes(raw), BINDING), BINDING), KINDS)
        except InvalidCursor:
            continue
        read += 1
        assert len(anchor.values) == 2
    assert 0 < read < rounds


# What shows


@every
def test_a_refusal_says_nothing_of_token_reason_or_key(make: Make) -> None:
    signer = make()
    with pytest.raises(InvalidCursor) as refused:
        signer.unsign(signer.sign(PAYLOAD, b"another list"), BINDING)
    assert str(refused.value) == "the cursor is not valid for this list; begin again without one"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@secret
def test_a_signer_shows_no_key(make: Make) -> None:
    signer = make(max_age=60)
    for text in (repr(signer), str(signer), f"{signer}"):
        assert text == f"<CursorSigner keys=2 max_age=60 encrypt={make is encrypted}>"


def test_an_unsigned_signer_says_so() -> None:
    signer = CursorSigner.unsigned()
    assert (repr(signer), signer.signed, signed().signed) == (
        "CursorSigner.unsigned()",
        False,
        True,
    )


def test_a_signer_is_not_pickled_with_its_keys() -> None:
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(signed())


@sealed
def test_encryption_hides_what_signing_shows() -> None:
    payload = b"salary 120000"
    shown = base64.urlsafe_b64decode(signed().sign(payload, BINDING).split(".")[0] + "==")
    token = encrypted().sign(payload, BINDING)
    assert shown == payload
    assert b"salary" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def test_encryption_without_its_library_names_the_extra(monkeypatch) -> None:
    for name in ("cryptography", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r'pip install "sa-perf\[encryption\]"'):
        signed(encrypt=True)


# What makes no signer


@pytest.mark.parametrize("key", ["", "secret-15-bytes", b"secret-15-bytes", "ü" * 7])
def test_a_short_key_is_refused_with_its_length_and_a_way_to_a_better_one(key) -> None:
    size = len(key.encode() if isinstance(key, str) else key)
    with pytest.raises(PaginationError) as refused:
        CursorSigner([KEY, key])
    assert str(refused.value) == (
        f"cursor key 2 of 2 has {size} bytes, needed are at least 16; this makes one: "
        'python -c "import secrets; print(secrets.token_urlsafe(32))"'
    )


@pytest.mark.parametrize("key", ["ü" * 8, b"\xff" * 16, "\udcff" * 16, "\ud800" * 16])
def test_a_key_of_sixteen_bytes_is_enough(key) -> None:
    signer = CursorSigner([key])
    assert signer.unsign(signer.sign(b"x", b"y"), b"y") == b"x"


@pytest.mark.parametrize("keys", [KEY, KEY.encode()])
def test_a_key_that_is_not_in_a_list_is_refused_without_showing_it(keys) -> None:
    with pytest.raises(PaginationError, match=r"CursorSigner\(\[key\]\)") as refused:
        CursorSigner(keys)
    assert KEY not in str(refused.value)


def test_no_key_is_refused_with_the_word_for_having_none() -> None:
    with pytest.raises(PaginationError, match=r"CursorSigner\.unsigned\(\)"):
        CursorSigner([])


def test_a_key_of_another_type_is_refused_by_its_type() -> None:
    with pytest.raises(PaginationError, match="cursor key 2 is a int; allowed are str and bytes"):
        CursorSigner([KEY, 5])


@pytest.mark.parametrize(
    "max_age",
    [0, -1, "60", True, [], float("nan"), float("inf"), timedelta(0), timedelta(seconds=-1)],
)
def test_an_age_that_is_none_is_refused(max_age) -> None:
    with pytest.raises(PaginationError, match=r"allowed are seconds > 0, a timedelta, or None"):
        CursorSigner([KEY], max_age=max_age)


@every
def test_a_token_that_would_not_be_read_is_not_made(make: Make) -> None:
    signer = make()
    longest = next(size for size in range(2_000, 0, -1) if len(signed_or_nothing(signer, size)) > 0)
    token = signer.sign(b"x" * longest, BINDING)
    assert MAX_TOKEN_LENGTH - 4 < len(token) <= MAX_TOKEN_LENGTH
    assert signer.unsign(token, BINDING) == b"x" * longest
    with pytest.raises(PaginationError, match="of which 2,000 are allowed; order by shorter"):
        signer.sign(b"x" * (longest + 3), BINDING)


@every
def test_a_token_that_is_too_long_is_refused_even_if_it_is_genuine(make: Make, monkeypatch) -> None:
    signer = make()
    with monkeypatch.context() as generous:
        generous.setattr("sa_perf.pagination.cursors.signer.MAX_TOKEN_LENGTH", 10_000)
        token = signer.sign(b"x" * 1_500, BINDING)
        assert signer.unsign(token, BINDING) == b"x" * 1_500
    with pytest.raises(InvalidCursor):
        signer.unsign(token, BINDING)


def signed_or_nothing(signer: CursorSigner, size: int) -> str:
    try:
        return signer.sign(b"x" * size, BINDING)
    except PaginationError:
        return ""


# From settings


def test_settings_give_keys_and_age(monkeypatch) -> None:
    monkeypatch.setenv("SA_PERF_CURSOR_KEYS", f"{KEY}, {OLD_KEY}")
    monkeypatch.setenv("SA_PERF_CURSOR_MAX_AGE_SECONDS", "60")
    for signer in (CursorSigner.from_environment(), CursorSigner.from_settings(Settings.load())):
        assert repr(signer) == "<CursorSigner keys=2 max_age=60.0 encrypt=False>"
    old = CursorSigner([OLD_KEY])
    assert CursorSigner.from_environment().unsign(old.sign(PAYLOAD, BINDING), BINDING) == PAYLOAD
    salted = CursorSigner.from_environment(salt="x").sign(PAYLOAD, BINDING)
    assert CursorSigner([KEY], salt="x").unsign(salted, BINDING) == PAYLOAD


def test_without_keys_in_the_settings_the_variable_is_named(monkeypatch) -> None:
    monkeypatch.delenv("SA_PERF_CURSOR_KEYS", raising=False)
    with pytest.raises(PaginationError, match=r"set SA_PERF_CURSOR_KEYS to what this prints"):
        CursorSigner.from_environment()


def test_a_short_key_in_the_environment_is_refused_without_showing_it(monkeypatch) -> None:
    monkeypatch.setenv("SA_PERF_CURSOR_KEYS", f"{KEY},short-secret")
    with pytest.raises(InvalidSettings, match="at least 16 bytes") as refused:
        CursorSigner.from_environment()
    assert KEY not in str(refused.value)
    assert "short-secret" not in str(refused.value)


@pytest.mark.parametrize("keys", [None, 5, {KEY}, {KEY: 1}, (one for one in [KEY]), KEY])
def test_keys_that_are_no_list_are_refused_without_showing_them(keys) -> None:
    with pytest.raises(PaginationError, match=r"as a list, newest first.*not as") as caught:
        CursorSigner(keys)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("salt", [b"a", None, 1])
def test_a_salt_that_is_no_text_is_refused(salt) -> None:
    with pytest.raises(PaginationError, match=r"salt is .*it is a text"):
        CursorSigner([KEY], salt=salt)


def test_without_keys_it_is_said_how_to_take_those_of_an_engine(monkeypatch) -> None:
    monkeypatch.delenv("SA_PERF_CURSOR_KEYS", raising=False)
    taken = r"SA_PERF_CURSOR_KEYS.*CursorSigner\.from_settings\(sa_perf\.instrumentation\(engine\)"
    with pytest.raises(PaginationError, match=taken):
        CursorSigner.from_environment()
    with pytest.raises(PaginationError, match="no cursor keys are set") as caught:
        CursorSigner.from_settings(Settings())
    assert "instrumentation" not in str(caught.value)  # these are its settings already


def test_keys_that_were_given_to_an_engine_sign_cursors() -> None:
    engine = create_engine(f"sqlite://?sa_perf_cursor_keys={KEY}", plugins=["sa_perf"])
    perf = sa_perf.instrumentation(engine)
    signer = CursorSigner.from_settings(perf.settings)
    assert CursorSigner([KEY]).unsign(signer.sign(b"row", b"list"), b"list") == b"row"
    perf.uninstall()
    engine.dispose()
