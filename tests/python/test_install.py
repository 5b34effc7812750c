"""The wheel carries everything: what a regular install finds without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.needs import needs
from tests.variants import long

#: Where it is compiled: after the editable install there is nothing left to do. Or anew, below a path that is awkward.
AFTER_EDITABLE, ANEW = "build/editable/{wheel_tag}", "build"

LOOK = """
import pathlib, sys
import spedge, spedge.compile, spedge.training, spedge.base.paths, spedge._events
home = pathlib.Path(sys.prefix).resolve()
for found in (spedge.__file__, spedge.compile.__file__, spedge.training.__file__, spedge._events.__file__,
              spedge.base.paths.firmware_dir(), spedge.base.paths.boards_dir(), spedge.base.paths.assets_dir()):
    assert pathlib.Path(found).resolve().is_relative_to(home), found
firmware, boards = spedge.base.paths.firmware_dir(), spedge.base.paths.boards_dir()
for name in ("lib/src/tokenizer.c", "lib/include/spedge/tokenizer.h", "lib/SPEC.md", "platformio.ini", "port/port.h"):
    assert (firmware / name).is_file(), name
assert list(boards.glob("*.json")) and (boards / "netduinoplus2/board.h").is_file()
assert (pathlib.Path(spedge.__file__).parent / "py.typed").is_file()
assert not [path for path in firmware.rglob("*") if path.name in (".pio", "build") or path.suffix == ".o"]
print(len(spedge.Tokenizer(width=8, height=8, threshold=1).push(
    __import__("numpy").zeros(3, spedge.EVENT_DTYPE))))
"""


@pytest.fixture(scope="module", params=[AFTER_EDITABLE, *long(ANEW)])
def installed(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with spedge from a wheel and everything else borrowed from this one."""
    needs("cc")
    folder = tmp_path_factory.mktemp("install") / "é t'o w & (x)"  # where builds and scripts once failed
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}  # nothing is fetched
    where = (folder if request.param == ANEW else repository) / request.param
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", f"--config-settings=build-dir={where}"]
    subprocess.run([*build, "--wheel-dir", folder, repository], check=True, cwd=folder, env=environment)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    site = next((folder / "env/lib").glob("python*/site-packages"))
    # A .pth line adds the folder but does not run the .pth files in it, so the editable install stays out.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheel = next(folder.glob("*.whl"))
    subprocess.run(
        [*pip, "--python", folder / "env/bin/python", "install", "--no-deps", wheel],
        check=True,
        cwd=folder,
        env=environment,
    )
    return folder / "env/bin"


def test_a_wheel_has_all_packages_and_data(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run([installed / "python", "-c", LOOK], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"


def test_the_command_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run([installed / "spedge", "boards", "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"sim"' in done.stdout
