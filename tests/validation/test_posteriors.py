"""Every shipped posterior that has a closed form holds the truth as often as it says, in small."""

from __future__ import annotations

import pytest

from rox.validation.posteriors import calibrated_posteriors, posteriors


@pytest.mark.slow
def test_shipped_posteriors_are_calibrated():
    found = calibrated_posteriors(200, 1)
    assert set(found) == set(posteriors())
    for name, ranks in found.items():
        assert "log likelihood" in ranks.names
        assert ranks.inside.all(), (name, ranks.rows())
