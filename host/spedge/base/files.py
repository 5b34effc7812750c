"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spedge.base.errors import UsageError


@contextmanager
def whole(path: Path, unique: bool = False) -> Iterator[Path]:
    """Yields the name of a file beside `path` to write to: it takes that place when the block ends well, else it goes.

    Until then, a file that was there before stays. unique: several processes may write the same file at a time; the
    last of them has it. Raises UsageError where no file can be written or the disk is full.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the name of a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent} to write it in")
    own = f".{uuid.uuid4().hex}" if unique else ""
    partial = path.with_name(f"{path.name}{own}.part")
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
