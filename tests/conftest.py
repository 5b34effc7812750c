"""Fixtures of more than one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.model.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference vectors and recordings that are not part of the repository: $SPEDGE_SHARED, or ../shared."""
    path = Path(os.environ.get("SPEDGE_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path} (set SPEDGE_SHARED)")
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of tests.tiny."""
    from tests.tiny import tiny_bundle

    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def device(image: Path) -> Iterator[Device]:
    """The board that the file's fixture `image` is for, and named after, with that image."""
    with open_board(load_board(image.name), image) as opened:
        yield opened
