"""A wheel in an environment of its own for each Python that is here, where no compiler is found.

python tools/test_wheel.py dist/*.whl    # exits with 1 when one does not tokenize a recording, or runs no model
python tools/test_wheel.py --older       # says the Pythons here that need a wheel of their own
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import which

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def pythons() -> list[str]:
    """Programs of these versions: those of the system, and those of pyenv."""
    found = [which(f"python{version}") for version in VERSIONS]
    for version in VERSIONS:
        found += map(str, sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")))
    runnable = [program for program in found if program and _version(program)]
    return list({_version(program): program for program in runnable}.values())


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def is_older(python: str) -> bool:
    """Whether the wheel by the limited API is not for it: buffers are in that from 3.11 on."""
    return _version(python).startswith("Python 3.10.")


def wheel_for(python: str, wheels: list[Path]) -> Path | None:
    """Of those given, None where none is for it."""
    tag = "-cp310-cp310-" if is_older(python) else "-abi3-"
    return next((wheel for wheel in wheels if tag in wheel.name), None)


def tokenizes(python: str, wheel: Path) -> bool:
    """Install the wheel, tokenize a recording that ships with it, and check the application of boards on a bundle."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        subprocess.run([python, "-m", "venv", folder], check=True)
        environment = {**os.environ, "PATH": f"{folder}/bin", "CC": "false"}
        environment.pop("PIP_CONSTRAINT", None)  # of this repository, with a relative path
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", wheel.resolve()]
        installed = subprocess.run(pip, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder, check=False)
        if installed.returncode:
            print(f"{_version(python)}: cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
            return False
        command = [f"{folder}/bin/spedge", "tokenize", "clap", "--threshold", "64", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
        good = done.returncode == 0 and json.loads(done.stdout)["tokens"] > 0
        took = time.monotonic() - begin
        print(f"{_version(python)}: {'tokenizes' if good else done.stderr.strip()}, {took:.0f} s with the installation")
        command = [f"{folder}/bin/spedge", "check", "gestures-pico", "clap", "--board", "host", "--provider", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
        if done.returncode:
            print(f"{_version(python)}: runs no model: {done.stderr.strip()}")
        return good and done.returncode == 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--older"]:
        print(*filter(is_older, pythons()))
        sys.exit()
    wheels = [Path(argument) for argument in sys.argv[1:]]
    results = [tokenizes(python, wheel) for python in pythons() if (wheel := wheel_for(python, wheels))]
    sys.exit(0 if results and all(results) else 1)
