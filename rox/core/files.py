"""Write a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rox.core.errors import DataError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it takes the place of ``path``, on failure it is removed.

    Args:
        path: The file to make; its folder is made if missing.

    Raises:
        DataError: There is a folder of that name, or the folder cannot be written to.
    """
    target = Path(path)
    if target.is_dir():
        raise DataError(f"{target} cannot be written.", ["it is a folder; give the name of a file"])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except OSError as cause:
        reason = (cause.strerror or "the system refused").lower()
        raise DataError(
            f"{target} cannot be written.", [f"{target.parent}: {reason}; choose another folder"]
        ) from cause
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def held_alone(path: str | Path) -> Iterator[None]:
    """Keep other runs from reading and rewriting a file at the same time, by a lock file beside it.

    Raises:
        DataError: Another run holds it.
    """
    lock = Path(path).with_name(f".{Path(path).name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError as cause:
        raise DataError(
            f"Another run is writing {path}.", [f"try again when it is done; if none is running, remove {lock}"]
        ) from cause
    except OSError as cause:
        raise DataError(f"{path} cannot be written.", [f"{lock.parent}: choose another folder"]) from cause
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)
