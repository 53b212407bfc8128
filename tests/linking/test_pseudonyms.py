"""Pseudonyms need a key; what identifies people is recognised."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rox.core.errors import DataError
from rox.linking.pseudonyms import (
    id_key,
    is_card,
    is_email,
    is_ip,
    is_mobile,
    is_national_id,
    key_name,
    mentioned_kind,
    personal_kind,
    pseudonym,
)
from rox.linking.sources import source_of_query

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0-tests-only"
PUBLISHED_ID = "11010519491231002X"
"""The example in GB 11643-1999."""


def with_check_digit(first: str) -> str:
    weights = [2 ** (17 - place) % 11 for place in range(17)]
    return first + "10X98765432"[sum(int(d) * w for d, w in zip(first, weights, strict=True)) % 11]


@pytest.mark.parametrize(
    ("given_key", "said"),
    [("", "is not set"), ("qz7qz", "5 bytes; at least 32"), ("ab" * 40, "repeats a few characters")],
)
def test_a_missing_short_or_monotonous_key_is_refused_with_the_command_that_makes_one(
    given_key: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        id_key({"ROX_ID_KEY": given_key} if given_key else {})
    assert said in str(caught.value)
    assert "secrets.token_hex(32)" in str(caught.value)
    if given_key:
        assert given_key not in str(caught.value)


def test_the_pseudonym_is_hmac_sha256() -> None:
    key = id_key({"ROX_ID_KEY": KEY})
    whole = hmac.new(KEY.encode(), b"customer\x000017", hashlib.sha256).hexdigest()
    assert pseudonym(key, "0017", domain="customer") == whole[:32]
    assert pseudonym(key, "0017", domain="record") != whole[:32]
    assert pseudonym(key, "17", domain="customer") != whole[:32]
    assert key_name(key) != key_name(key[::-1])
    assert len(key_name(key)) == 8


def test_an_identity_number_needs_its_check_digit_and_a_date() -> None:
    assert is_national_id(PUBLISHED_ID)
    assert is_national_id(PUBLISHED_ID.lower())
    assert not is_national_id("110105194912310021")
    assert not is_national_id(with_check_digit("11010519491331002"))


@given(st.integers(0, 10**17 - 1))
def test_one_wrong_digit_is_always_seen(number: int) -> None:
    text = with_check_digit("110105" + "19800101" + f"{number % 1000:03d}")
    assert is_national_id(text)
    place = number % 17
    other = text[:place] + str((int(text[place]) + 1 + number % 9) % 10) + text[place + 1 :]
    assert other == text or not is_national_id(other)


def test_cards_mobiles_addresses() -> None:
    assert is_card("4111111111111111")
    assert is_card("4111 1111 1111 1111")
    assert not is_card("4111111111111112")
    assert is_mobile("13912345678")
    assert is_mobile("+86 13912345678")
    assert not is_mobile("12912345678")
    assert is_email("ann.marlow@example.co.uk")
    assert not is_email("ann at example")
    assert is_ip("10.1.2.3(广东-深圳)")
    assert is_ip("2001:0db8:85a3:0000:0000:8a2e:0370:7334")
    assert not is_ip("09:30:00")
    assert not is_ip("1.2.3.4.5")


def test_a_column_is_known_by_its_share_and_a_mention_by_one() -> None:
    numbers = [f"{n:011d}" for n in range(20_000_000_000, 20_000_000_100)]
    assert personal_kind(numbers) is None
    assert personal_kind([*numbers[:60], *(f"139{n:08d}" for n in range(40))]) == ("mobile", 40)
    assert personal_kind([*numbers, PUBLISHED_ID, PUBLISHED_ID]) == ("national_id", 2)
    assert personal_kind([*numbers, "ann@example.com"]) == ("email", 1)
    assert mentioned_kind("call me on 13912345678 please") == "mobile"
    assert mentioned_kind(f"ID {PUBLISHED_ID}") == "national_id"
    assert mentioned_kind("order 20250301123456789012") is None


@pytest.mark.parametrize(
    "query",
    [
        "SELECT md5(id) AS customer FROM raw",
        "SELECT SHA256 (id) AS customer FROM raw",
        "SELECT hash(id) AS customer FROM raw",
        "SELECT sha1(id || 'salt') AS customer FROM raw -- hash(id) % 2",
    ],
)
def test_a_query_that_hashes_without_a_key_is_refused(query: str) -> None:
    with pytest.raises(DataError, match="identity numbers") as caught:
        source_of_query(query)
    assert "rox import" in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM raw WHERE hash(id) % 10 = 0",
        "SELECT 'md5(x)' AS note FROM raw -- md5(id)",
        "SELECT rehash(id) FROM raw",
    ],
)
def test_a_sample_and_a_mention_are_let_through(query: str) -> None:
    assert query in source_of_query(query).sql
