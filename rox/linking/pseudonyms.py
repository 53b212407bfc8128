"""Pseudonyms of ids: HMAC-SHA256 under a secret key, so that tables still join and nobody is found by listing ids.

A hash without a key hides nobody whose id can be listed: an 18-digit identity number has a birthday, a region and a
check digit, a mobile number eleven digits. ENISA, *Pseudonymisation techniques and best practices* (2019), section 5.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from rox.core.errors import DataError

KEY_VARIABLE = "ROX_ID_KEY"
KEY_BYTES = 32
LEAST_DISTINCT = 8
HEX_DIGITS = 32
"""Of a pseudonym: 128 bits, so that two among a hundred million people coincide once in 10²²."""
MAKE_A_KEY = f"""export {KEY_VARIABLE}=$(python -c "import secrets; print(secrets.token_hex(32))")"""

MOBILE = r"(?:\+?86[- ]?)?1[3-9]\d{9}"
EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
IP = r"(?:\d{1,3}\.){3}\d{1,3}"
NATIONAL_ID = r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"
CARD = r"[2-6]\d{12,18}"
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def id_key(environment: Mapping[str, str] | None = None) -> bytes:
    """Return the secret key from the environment variable ``ROX_ID_KEY``.

    Args:
        environment: Where to look; the process's by default.

    Raises:
        DataError: There is none, it has fewer than 32 bytes, or it hardly varies.
    """
    given = (os.environ if environment is None else environment).get(KEY_VARIABLE, "")
    key = given.encode()
    make = f"make one, and keep it outside the study's folder: {MAKE_A_KEY}"
    if not key:
        raise DataError("Pseudonyms need a key.", [f"the environment variable {KEY_VARIABLE} is not set; {make}"])
    if len(key) < KEY_BYTES:
        raise DataError(
            "The key is too short.", [f"{KEY_VARIABLE} has {len(key)} bytes; at least {KEY_BYTES} are needed; {make}"]
        )
    if len(set(key)) < LEAST_DISTINCT:
        raise DataError("The key can be guessed.", [f"{KEY_VARIABLE} repeats a few characters; {make}"])
    return key


def pseudonym(key: bytes, text: str, *, domain: str) -> str:
    """Return the pseudonym of an id, 32 hexadecimal digits.

    Args:
        key: The secret.
        text: The id as text.
        domain: What it is an id of, such as ``"customer"``; the same text in two domains has two pseudonyms.
    """
    return hmac.digest(key, f"{domain}\0{text}".encode(), "sha256").hex()[:HEX_DIGITS]


def key_name(key: bytes) -> str:
    """Return eight digits that tell two keys apart and do not reveal them."""
    return pseudonym(key, "", domain="name of the key")[:8]


def is_national_id(text: str) -> bool:
    """Say whether a text is a Chinese identity number: 18 digits with a date and the check digit of GB 11643."""
    if not re.fullmatch(NATIONAL_ID, text):
        return False
    rest = sum(int(digit) * weight for digit, weight in zip(text[:17], WEIGHTS, strict=True)) % 11
    return "10X98765432"[rest] == text[17].upper()


def is_card(text: str) -> bool:
    """Say whether a text is a bank card's number: 13 to 19 digits with the check digit of Luhn."""
    digits = re.sub(r"[ -]", "", text)
    if not re.fullmatch(CARD, digits):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_mobile(text: str) -> bool:
    """Say whether a text is a Chinese mobile number."""
    return re.fullmatch(MOBILE, text) is not None


def is_email(text: str) -> bool:
    """Say whether a text is an e-mail address."""
    return re.fullmatch(EMAIL, text) is not None


def is_ip(text: str) -> bool:
    """Say whether a text begins with an IP address."""
    return re.match(rf"(?:{IP}(?![\d.])|[0-9A-Fa-f]{{1,4}}(?::[0-9A-Fa-f]{{0,4}}){{5,7}}$)", text) is not None


def mentioned_kind(text: str) -> str | None:
    """Say which direct identifier stands somewhere in a text; None if none does."""
    if re.search(EMAIL, text):
        return "email"
    if re.search(rf"(?<!\d){MOBILE}(?!\d)", text):
        return "mobile"
    numbers = re.findall(r"(?<!\d)\d{17}[\dXx](?!\d)", text)
    return "national_id" if any(map(is_national_id, numbers)) else None


KINDS: Mapping[str, tuple[Callable[[str], bool], float]] = MappingProxyType(
    {
        "national_id": (is_national_id, 0.01),
        "email": (is_email, 0.0),
        "mobile": (is_mobile, 0.2),
        "card": (is_card, 0.3),
        "ip": (is_ip, 0.2),
    }
)
"""What identifies a person by itself, and above which share of the values a column is taken for it: by chance a number
of eleven digits looks like a mobile number in 7 %, one of sixteen like a card's in 6 %, of eighteen like an identity
number in 0.01 %."""


def personal_kind(values: Iterable[str]) -> tuple[str, int] | None:
    """Say what direct identifier a column holds, and in how many values; None if it holds none."""
    texts = [value.strip() for value in values]
    for kind, (is_kind, share) in KINDS.items():
        count = sum(map(is_kind, texts))
        if count > share * len(texts):
            return kind, count
    return None
