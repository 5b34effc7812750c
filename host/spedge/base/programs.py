"""Programs that come with the system, and the commands that bring what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """A program, and the Debian packages that bring it."""

    program: str
    packages: tuple[str, ...]

    @property
    def present(self) -> bool:
        return shutil.which(self.program) is not None

    @property
    def bring(self) -> str:
        """The command."""
        return apt_get(self.packages)


FFMPEG = Tool("ffmpeg", ("ffmpeg",))


def apt_get(packages: Iterable[str]) -> str:
    """The command that brings Debian packages."""
    return f"sudo apt-get install {' '.join(packages)}"
