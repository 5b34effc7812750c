"""Fixtures of more than one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.model.bundle import Bundle
from tests.needs import be_quick

if TYPE_CHECKING:
    from tests.ends import Agent

#: The firmware has no warning, whatever it is built for.
os.environ["PLATFORMIO_BUILD_SRC_FLAGS"] = "-Wconversion -Werror"

#: Tests run side by side: threads of OpenMP that wait for each other, spinning, take ten times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no build and no emulator: make quick")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        be_quick()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("--quick") and collection_path == REPOSITORY / "tests/emulated" else None


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


@pytest.fixture(scope="module")
def board() -> str:
    """The board that `image` is for; files that want another one have a fixture of their own."""
    return "sim"


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """What `image` is compiled with, besides the flags that users get."""
    return ()


@pytest.fixture(scope="module")
def image(board: str, flags: tuple[str, ...], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board's firmware with the model of `bundle`, in a file of the board's name."""
    from tests.tiny import firmware_of

    return firmware_of(board, bundle, tmp_path_factory.mktemp("image"), flags)


@pytest.fixture
def device(image: Path) -> Iterator[Device]:
    """The board of `image`, running it."""
    with open_board(load_board(image.name), image) as opened:
        yield opened


@pytest.fixture
def agent(image: Path) -> Iterator[Agent]:
    """`image`, which is for the board sim, behind TCP."""
    from tests.ends import Agent

    started = Agent(image)
    yield started
    started.kill()
