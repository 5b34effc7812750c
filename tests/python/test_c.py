"""Runs the tests of the C library (tests/c), which is built with sanitizers, one result for each."""

from __future__ import annotations

import fcntl
import re
import subprocess
from pathlib import Path

import pytest

from tests.needs import needs

FOLDER = Path(__file__).resolve().parents[1] / "c"
NAMES = sorted(
    name for source in FOLDER.glob("test_*.c") for name in re.findall(r"^TEST\((\w+)\)", source.read_text(), re.M)
)


@pytest.fixture(scope="session")
def runner() -> Path:
    """The test program, built if something changed; workers of one test run wait for each other."""
    needs("cc", "make")
    (FOLDER / "build").mkdir(exist_ok=True)
    with (FOLDER / "build/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(["make", "--silent", "-C", FOLDER, "build/run"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return FOLDER / "build/run"


def test_there_are_tests() -> None:
    assert len(NAMES) > 50
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_c(runner: Path, name: str) -> None:
    done = subprocess.run([runner, name], capture_output=True, text=True, cwd=FOLDER, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 tests, 0 failed" in done.stdout
