"""Where spedge finds its own files, in a checkout (editable install) and in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from spedge.base.errors import SpedgeError, UsageError

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


def bundle_names() -> list[str]:
    """Of the bundles that come with spedge."""
    return sorted(file.parent.name for file in assets_dir().glob("*/bundle.json"))


def recording_names() -> list[str]:
    """Of the recordings that come with spedge."""
    return sorted(file.stem for file in (assets_dir() / "recordings").glob("*.raw"))


def bundle_named(path: Path) -> Path:
    """The path as it is, or the bundle of that name that comes with spedge, where the path leads to nothing."""
    return assets_dir() / path if str(path) in bundle_names() and not path.exists() else path


def recording_named(path: Path) -> Path:
    """The same for recordings, whose names have no ending."""
    ships = str(path) in recording_names() and not path.exists()
    return assets_dir() / "recordings" / f"{path}.raw" if ships else path


def cache_dir() -> Path:
    """Where builds and downloads are kept: $SPEDGE_CACHE, or the user's cache folder. Created when missing.

    Raises UsageError when that cannot be.
    """
    chosen = os.environ.get("SPEDGE_CACHE")
    path = Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("spedge")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
    return path


def unwritable(cache: Path, error: OSError) -> UsageError:
    """What to say of a cache that cannot be written to."""
    return UsageError(
        f"the cache {cache} cannot be written to ({error.strerror}): set SPEDGE_CACHE to a folder that can"
    )
