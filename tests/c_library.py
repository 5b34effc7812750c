"""C of the firmware as a library of this machine, which tests drive by ctypes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from spedge.base.paths import firmware_dir
from tests.needs import needs

_FLAGS = ("-std=gnu99", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC")


def c_library(out: Path, stand_in: str, *sources: str, includes: Sequence[str] = ("port",)) -> Path:
    """Compile it to `out`. stand_in: a file of tests/; sources, includes: files and folders of firmware/."""
    needs("cc")
    files = [Path(__file__).parent / stand_in, *(firmware_dir() / source for source in sources)]
    folders = [f"-I{firmware_dir() / name}" for name in includes]
    subprocess.run(["cc", *_FLAGS, *folders, *map(str, files), "-o", str(out)], check=True)
    return out
