"""How fast the wheel of `make wheel` is beside one that is built for each Python that is here.

python tools/wheel_speed.py dist/*.whl    # minutes: a build for each Python, by a compiler and the network

Both read and tokenize the same recordings by turns, in processes of their own, which of the two first, too; told are
medians of ROUNDS, in processor time, and the median of what one took more than the other in the same round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tools"))
from test_wheel import is_older, pythons, wheel_for  # noqa: E402

ROUNDS = 40
WORK = """
import time
import numpy as np
import spedge
from spedge.evt2 import encode_words
from spedge.decoders import Evt2Decoder
recording = spedge.open("clap")
events = np.tile(recording.events(), 20)
events["t"] = np.sort(events["t"])
words = encode_words(events)
begin = time.process_time()
for _ in range(3):
    decoded = Evt2Decoder(width=recording.width, height=recording.height).feed(words.tobytes())
    tokens = spedge.Tokenizer(width=128, height=128, threshold=64).push(events)
    spedge.embedding.log_time_cells(tokens, 16)
for start in range(0, len(events), 50):  # calls with little in them, where the interface costs
    spedge.Tokenizer(width=128, height=128, threshold=64).push(events[start : start + 50])
print(time.process_time() - begin)
"""


def measured(python: str, package: Path) -> float:
    """Seconds of the processor, with the spedge of a folder."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", WORK], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def compared(python: str, wheel: Path, scratch: Path) -> tuple[float, float, float]:
    """Seconds with the wheel, with one that is built for this Python, and how many times as long the first took."""
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}

    def run(*words: str | Path) -> None:
        subprocess.run(words, check=True, env=environment)

    run(python, "-m", "venv", scratch / "env")
    own = str(scratch / "env" / "bin" / "python")
    pip = (own, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", wheel)
    run(*pip, "wheel", "--no-deps", f"--config-settings=build-dir={scratch / 'build'}", "-w", scratch, REPOSITORY)
    run(*pip, "uninstall", "--yes", "spedge")
    folders = (scratch / "abi3", scratch / "own")
    for folder, built in zip(folders, (wheel, next(scratch.glob("*.whl"))), strict=True):
        run(*pip, "install", "--no-deps", "--target", folder, built)
    turns = []
    for number in range(ROUNDS):
        first = number % 2
        took = {at: measured(own, folders[at]) for at in (first, 1 - first)}
        turns.append((took[0], took[1]))
    ours, theirs = zip(*turns, strict=True)
    return median(ours), median(theirs), median(one / other for one, other in turns)


if __name__ == "__main__":
    for program in pythons():
        wheel = wheel_for(program, [Path(argument).resolve() for argument in sys.argv[1:]])
        if is_older(program) or wheel is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            one, own, ratio = compared(program, wheel, Path(folder))
            name = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
            print(f"{name}: {one:.3f} s with the wheel, {own:.3f} s with its own, {ratio - 1:+.1%}", flush=True)
