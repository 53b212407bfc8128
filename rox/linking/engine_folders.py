"""Folders of an engine: a temporary one that goes with its process, and files that are there whole or not at all."""

from __future__ import annotations

import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from rox.core.errors import DataError

PREFIX = "rox-"
LOCK = "in_use"


def own_folder(parent: Path | None, option: str, leaving: ExitStack) -> Path:
    """Make a temporary folder, and remove those of processes that died.

    A process holds a lock on a file in its folder as long as it lives; where the system knows no such locks (Windows),
    what dead processes left stays.

    Args:
        parent: Where to make it; by default where the system keeps temporary files.
        option: The name of the setting, for messages.
        leaving: Removes the folder and gives the lock back.

    Raises:
        DataError: The parent cannot be written to.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    try:
        where.mkdir(parents=True, exist_ok=True)
        _remove_the_dead(where)
        while True:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
            lock = (folder / LOCK).open("w", encoding="utf-8")
            leaving.callback(_remove, folder, lock)
            if _locked(lock, wait=True) and (folder / LOCK).exists():
                return folder
    except OSError as cause:
        raise DataError(
            "The engine has no place to work in.", [f"{option}: {cause.strerror or cause}; name a folder of your own"]
        ) from cause


def _remove(folder: Path, lock: IO[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()


@contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """Give a path for a Parquet file, or a folder of them; what still lies there in the end is removed."""
    draft = folder / f"{uuid.uuid4().hex}.parquet"
    try:
        yield draft
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def publish(draft: Path, path: Path) -> None:
    """Rename a finished draft. If somebody else made the same in the meantime, theirs stays."""
    try:
        draft.rename(path)
    except OSError:
        if not path.exists():
            raise


def _remove_the_dead(where: Path) -> None:
    for folder in where.glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK).open("r+", encoding="utf-8") as lock:
                if _locked(lock, wait=False):
                    shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # Not a folder of an engine, gone by now, or another user's.


def _locked(file: IO[str], *, wait: bool) -> bool:
    """Lock a file for this process; tell whether that was possible."""
    if sys.platform == "win32":
        return wait
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
