"""Fixtures for all Python tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


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
