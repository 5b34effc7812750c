"""Where spedge finds its own files, in a checkout (editable install) and in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from spedge.base.errors import SpedgeError

_PACKAGE = Path(__file__).resolve().parents[1]


def _data_dir(name: str) -> Path:
    for candidate in (_PACKAGE / "data" / name, _PACKAGE.parents[1] / name):
        if candidate.is_dir():
            return candidate
    raise SpedgeError(f"spedge's own folder '{name}' is missing under {_PACKAGE}: install spedge again")


def firmware_dir() -> Path:
    """The C sources: lib/, runtime/, app/, port/."""
    return _data_dir("firmware")


def boards_dir() -> Path:
    """The board manifests and the PlatformIO development platform."""
    return _data_dir("boards")


def assets_dir() -> Path:
    """Bundles and recordings that come with spedge."""
    return _PACKAGE / "assets"


def cache_dir() -> Path:
    """Where builds and downloads are kept: $SPEDGE_CACHE, or the user's cache folder. Created when missing."""
    chosen = os.environ.get("SPEDGE_CACHE")
    path = Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("spedge")
    path.mkdir(parents=True, exist_ok=True)
    return path
