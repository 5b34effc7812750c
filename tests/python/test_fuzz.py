"""A short run of the fuzzers of what takes bytes from outside in C (tests/fuzz/Makefile), with sanitizers."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

from tests.needs import needs
from tests.variants import long

FOLDER = Path(__file__).resolve().parents[1] / "fuzz"
#: The application with a detector does all that the one without does, and more.
TARGETS = sorted({corpus.name for corpus in (FOLDER / "corpus").iterdir() if any(corpus.iterdir())} - {"app"})


def make(*targets: str) -> str:
    """What `make` prints; workers of one test run wait for each other."""
    needs("cc", "make")
    (FOLDER / "build").mkdir(exist_ok=True)
    with (FOLDER / "build/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "--silent", "-C", str(FOLDER), *targets]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.mark.parametrize("targets", [TARGETS, *long(["app"])], ids=",".join)
def test_decoders_parser_and_application_survive_their_corpus_and_mutations(targets: list[str]) -> None:
    assert len(targets) in (1, 12)
    lines = make("short", "RUNS=2000", f"TARGETS={' '.join(targets)}").splitlines()
    assert sorted(line.partition(":")[0] for line in lines if "mutations" in line) == targets
    assert sum("2000 mutations" in line for line in lines) == len(targets)


@pytest.mark.parametrize("detector", [*long(False), True])
def test_the_application_survives_random_programs(detector: bool) -> None:
    program = "build/alone_app_detector" if detector else "build/alone_app"
    make(program)
    done = subprocess.run([FOLDER / program, "4000", "1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    inputs, size, replies, results, pages, found, left_out = (
        int(word) for word in done.stdout.replace(",", "").split() if word.isdigit()
    )
    assert inputs == 4000
    assert size > 1_000_000
    assert replies > 100_000
    assert results > (300 if detector else 500)
    assert pages > 100
    assert (found > 500, left_out > 10) == (detector, detector)
