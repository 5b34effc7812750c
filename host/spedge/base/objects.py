"""Sources that every generated folder for Linux has, compiled once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from spedge.base.store import digest_of, stored

ROWS = "rows"  #: the folder of these sources in a generated folder


def rows_objects(folder: Path, command: Sequence[str]) -> list[Path]:
    """The objects of what is in rows/ of a generated folder, if there is such a folder; kept in the cache.

    command: the compiler with its options, which may have it write more beside an object (-fstack-usage).
    Raises CalledProcessError, with what the compiler says, when it refuses a source.
    """
    sources = sorted((folder / ROWS).glob("*.c"))
    if not sources:
        return []
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout
    inputs = digest_of([folder / ROWS, folder / "include"], version, *command)

    def make(out: Path) -> None:
        for source in sources:
            made = ["-c", str(source), "-o", str(out / f"{source.stem}.o")]
            full = [*command, f"-I{folder / 'include'}", *made]
            subprocess.run(full, capture_output=True, text=True, errors="replace", check=True)

    return sorted(stored("objects", inputs[:32], make).glob("*.o"))
