"""Numbers as they stand in the sentences of checks, the same in every language."""

from __future__ import annotations


def p_value(p: float) -> str:
    """Write a p-value as ``p = 0.03`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def amount(value: float, currency: str = "") -> str:
    """Write an amount as ``CNY 12,345`` or ``CNY 1.23``."""
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{currency} {number}" if currency else number
