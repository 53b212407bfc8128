"""What commands say of an argument that cannot be read: what was found, and how it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.cli import main
from tests.review.recorded import recorded


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["allocate", "p.toml", "--effects", "e", "--budget", "2.5m"], ["'2.5m' is not an amount", "2500000"]),
        (["freeze", "r.json", "--into", "f", "--team", "a", "--owner", "b", "--on", "2026-13-01"], ["2026-01-31"]),
    ],
)
def test_an_argument_that_cannot_be_read_says_what_to_write(
    arguments: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert all(each in told for each in said)


def test_a_record_without_its_effects_is_not_frozen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = recorded(tmp_path)
    for file in (record.parent / "effects").iterdir():
        file.unlink()
    code = main(
        ["freeze", str(record), "--into", str(tmp_path / "f"), "--team", "a", "--owner", "b", "--on", "2026-12-31"]
    )
    assert code == 3
    assert "missing beside the record; copy the run's whole folder" in capsys.readouterr().err
