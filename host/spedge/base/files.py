"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spedge.base.errors import UsageError

PART = ".part"  #: behind the name of a file that is not whole yet


def part_of(path: Path) -> Path:
    """The file that is written to until it is whole."""
    return path.with_name(path.name + PART)


def require_place(path: Path) -> None:
    """Raises UsageError where no file can be."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the name of a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent} to write it in")


@contextmanager
def whole(path: Path, unique: bool = False) -> Iterator[Path]:
    """Yields the name of a file beside `path` to write to: it takes that place when the block ends well, else it goes.

    Until then, a file that was there before stays. unique: several processes may write the same file at a time; the
    last of them has it. Raises UsageError where no file can be written or the disk is full.
    """
    require_place(path)
    partial = part_of(path.with_name(f"{path.name}.{uuid.uuid4().hex}") if unique else path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"{path}: cannot be written: {why}") from error
    finally:
        partial.unlink(missing_ok=True)
