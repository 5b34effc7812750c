"""Without the modules that only POSIX has: on macOS and Windows recordings, the tokenizer and training work, too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spedge.recordings import write
from tests.events import scattered

#: Hides them from our own modules: those of others know what is there on their own.
HIDDEN = """
import builtins, importlib, signal, sys
found = builtins.__import__

def hiding(name, globals=None, *rest, **more):
    ours = str((globals or {}).get("__name__")).startswith("spedge")
    if ours and name in ("fcntl", "grp", "termios", "pwd", "resource", "pty", "tty"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return found(name, globals, *rest, **more)

builtins.__import__ = hiding
for name in ("SIGALRM", "setitimer", "ITIMER_REAL"):
    delattr(signal, name)
from spedge import cli
"""


def without(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", HIDDEN + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_recordings_are_read_written_and_tokenized(tmp_path: Path) -> None:
    write(tmp_path / "a.raw", scattered(3000, 100_000), 34, 34)
    code = """
path, out, tokens = sys.argv[1:]
from spedge.base import interrupts
interrupts.install()
for line in (["info", path, "--json"], ["convert", path, out], ["tokenize", out, "--threshold", "8", "--out", tokens],
             ["models"], ["boards"], ["doctor", "--json"], ["devices", "--no-ask"]):
    sys.argv = ["spedge", *line]
    assert cli.execute(line) == 0, line
interrupts.give_up()
"""
    said = without(code, tmp_path / "a.raw", tmp_path / "b.npz", tmp_path / "c.npz")
    assert json.JSONDecoder().raw_decode(said)[0]["events"] == 3000
    assert (tmp_path / "c.npz").exists()


@pytest.mark.train
def test_a_model_is_trained(tmp_path: Path) -> None:
    """On a folder for each class, for two steps, to a bundle."""
    for label, side in (("still", 30), ("wide", 34)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            path = tmp_path / "data" / label / f"{number}.raw"
            write(path, scattered(3000, 100_000, number, side), 34, 34)
    code = """
data, run = sys.argv[1:]
line = ["train", "nmnist-pico", "--data", data, "--run", run, "--steps", "2", "--batch", "4", "--holdout", "0.4"]
assert cli.execute(line) == 0
"""
    without(code, tmp_path / "data", tmp_path / "run")
    assert (tmp_path / "run" / "bundle.json").is_file()


def test_every_module_is_imported(repository: Path) -> None:
    """What needs a library that is not installed is left out."""
    files = {"spedge": repository / "host" / "spedge", "spedge.training": repository / "training"}
    names = [
        ".".join([package, *file.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__")
        for package, folder in files.items()
        for file in sorted(folder.rglob("*.py"))
        if file.stem != "__main__"
    ]
    assert len(names) > 200
    code = """
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert not {"fcntl", "grp", "termios", "pwd", "resource", "pty", "tty"} & set(without(code, *names).split())
