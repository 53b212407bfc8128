"""Files are written whole or not at all, and what cannot be written is said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.core.errors import DataError
from rox.core.files import held_alone, write_text, written_whole


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = write_text(tmp_path / "deep" / "page.html", "before")
    with pytest.raises(TypeError), written_whole(path) as draft:
        draft.write_text(1, encoding="utf-8")  # type: ignore[arg-type]
    assert path.read_text(encoding="utf-8") == "before"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(DataError, match="it is a folder"):
        write_text(tmp_path / "page.html", "text")
    (tmp_path / "plain").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be written(.|\n)*choose another folder"):
        write_text(tmp_path / "plain" / "page.html", "text")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["page.html", "plain"]


def test_a_file_that_another_run_holds_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "alerts.csv"
    with held_alone(path), pytest.raises(DataError, match="Another run is writing"), held_alone(path):
        path.write_text("never", encoding="utf-8")
    with held_alone(path):
        pass
    assert list(tmp_path.iterdir()) == []
