"""Sources of others that boards are built with: fetched from Debian once, known by their hash, kept in the cache.

`firmware/parts.json` says which there are, a board's manifest which it has, its port's `parts.json` what is compiled
of them.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import UsageError, line_of
from spedge.base.paths import cache_dir, firmware_dir
from spedge.base.store import locked, stored
from spedge.boards.manifest import Board
from spedge.boards.platformio import BuildError

MIRROR = "SPEDGE_DEBIAN"  #: names a mirror of Debian in the environment
_PATIENCE_SECONDS = 30.0
_APT_HELPER = "/usr/lib/apt/apt-helper"
_AR_MAGIC = b"!<arch>\n"
_AR_HEAD_BYTES = 60


@dataclass(frozen=True)
class Part:
    """name, version: of what it is. debian: its package, a path in Debian's archive, with its sha256. folder: where the
    sources are in that package."""

    name: str
    version: str
    debian: str
    sha256: str
    folder: str

    @property
    def file(self) -> str:
        return self.debian.rsplit("/", 1)[-1]

    @property
    def key(self) -> str:
        """Its folder's name in the cache."""
        return f"{self.name}-{self.sha256[:16]}"

    @property
    def present(self) -> bool:
        return (cache_dir() / "parts" / self.key).is_dir()


def parts_of(board: Board) -> list[Part]:
    """What the board's manifest names. Raises UsageError for one that there is not."""
    known = json.loads((firmware_dir() / "parts.json").read_text())
    for name in board.parts:
        if name not in known:
            raise UsageError(f"{board.manifest} has the part {name!r}, not one of {', '.join(known)}")
    return [Part(name, **known[name]) for name in board.parts]


def provide(board: Board, say: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
    """The folders with the sources of the board's parts, by name; fetched when they are not in the cache.

    say gets short sentences. Raises BuildError, with what to do, when one is neither there nor to be had.
    """

    def make(part: Part, folder: Path) -> None:
        say(f"Fetching {part.name} {part.version}")
        _unpack(_package(part), part, folder)

    return {part.name: stored("parts", part.key, functools.partial(make, part)) for part in parts_of(board)}


def _package(part: Part) -> bytes:
    """Its Debian package: a file that lies in the cache, or else comes there by apt."""
    path = cache_dir() / "downloads" / part.file
    remedy = f"put {part.file} of Debian 13 into {path.parent}, or set {MIRROR} to the address of a mirror of Debian"
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            reason = _fetch(part, path)
            if not path.is_file():
                raise BuildError(f"{part.name} {part.version} cannot be fetched ({reason}): {remedy}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != part.sha256:
            path.unlink()
            raise BuildError(f"{path} was not the package that is meant, by its SHA-256, and is deleted: {remedy}")
    return content


def _fetch(part: Part, path: Path) -> str:
    """From the mirror that the environment names, or those that apt is told of. Returns why there is no file."""
    chosen = os.environ.get(MIRROR)
    reason = "apt is told of no mirror of Debian"
    for mirror in [chosen] if chosen else _mirrors():
        download = path.with_suffix(".part")
        address = f"{mirror.rstrip('/')}/{part.debian}"
        reason = (_by_apt if Path(_APT_HELPER).is_file() else _by_python)(address, download)
        if not reason:
            download.replace(path)
            return ""
        download.unlink(missing_ok=True)
    return reason


def _mirrors() -> list[str]:
    if shutil.which("apt-get") is None:
        return []
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    said = subprocess.run(asked, capture_output=True, text=True, errors="replace", check=False).stdout
    return [line for line in dict.fromkeys(said.split()) if line.rstrip("/").endswith("debian")]


def _by_apt(address: str, download: Path) -> str:
    """By apt's downloader, which knows of proxies and of all kinds of mirrors."""
    command = [_APT_HELPER, "-qq", "download-file", address, str(download)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0 and download.is_file():
        return ""
    said = [line.removeprefix("E: ").strip() for line in done.stderr.splitlines() if line.startswith("E: ")]
    return said[0] if said else "apt failed"


def _by_python(address: str, download: Path) -> str:
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE_SECONDS) as answer:
            download.write_bytes(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        return line_of(error)
    return ""


def _unpack(package: bytes, part: Part, folder: Path) -> None:
    """The files below the part's folder in a Debian package: an ar archive, with a tar in it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_data_of(package))) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name.startswith(f"{part.folder}/") and (file := tar.extractfile(member)):
                    path = folder / name[len(part.folder) + 1 :]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.read())
    except (tarfile.TarError, ValueError) as error:
        raise BuildError(f"{part.file} cannot be unpacked: {line_of(error)}") from error


def _data_of(package: bytes) -> bytes:
    at = len(_AR_MAGIC)
    while package.startswith(_AR_MAGIC) and at + _AR_HEAD_BYTES <= len(package):
        head = package[at : at + _AR_HEAD_BYTES]
        size = int(head[48:58])
        at += _AR_HEAD_BYTES
        if head.startswith(b"data.tar"):
            return package[at : at + size]
        at += size + size % 2
    raise ValueError("it has no data")
