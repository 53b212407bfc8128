"""Deal customers into buckets by a hash that is the same on every engine."""

from __future__ import annotations

from typing import Any

PRIME = 2**31 - 1
MULTIPLIER, SHIFT = 48271, 11


def bucket_of(customer: Any, buckets: int) -> Any:
    """Deal customers into buckets by a hash of their number.

    The number is shifted and raised to the fifth power modulo the prime 2³¹−1, which maps the numbers below it one to
    one and leaves no pattern of neighbours; all products stay below 2⁶².

    Args:
        customer: Engine expression of a customer's whole number.
        buckets: How many.
    """
    start = (customer.cast("int64") % PRIME * MULTIPLIER + SHIFT) % PRIME
    square = start * start % PRIME
    return square * square % PRIME * start % PRIME % buckets
