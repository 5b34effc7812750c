"""A short run of the fuzzers of readers (tests/fuzz/readers.py, cuts.py); those of C are in test_fuzz.py."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests import recording_files
from tests.fuzz import cuts, readers

RUNS = 60
CUTS = 2700


def test_readers_survive_damaged_files(repository: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.readers", "--runs", str(RUNS), "--seed", "7"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(recording_files.FORMATS)
    assert all(f" {RUNS} files" in line for line in lines)
    assert {folder.name for folder in readers.CORPUS.iterdir()} == set(recording_files.FORMATS)


def test_what_is_before_a_cut_or_a_fault_is_handed_out(repository: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.cuts", "--runs", str(CUTS), "--seed", "7"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = {name: int(text.split()[0]) for name, _, text in (line.partition(":") for line in done.stdout.splitlines())}
    assert set(recording_files.FORMATS) < set(runs)
    assert sum(runs.values()) == CUTS
    assert min(runs.values()) >= 50


@pytest.mark.parametrize(
    ("name", "promised"),
    [("dat.dat", "an event less"), ("dat.dat", "an event more"), ("text.csv", "another"), ("evt3.raw", "damage")],
)
def test_the_fuzzer_finds_what_is_not_as_promised(name: str, promised: str, tmp_path: Path) -> None:
    """Its own test: of files that do not hold what it takes them to hold."""
    (sample,) = cuts.samples(tmp_path, (name,))
    assert sample.ends is not None
    path = tmp_path / name
    at = sample.ends[20]
    path.write_bytes(sample.data[:at])
    cuts.check(sample, at, True, path)
    events, ends = list(sample.events), list(sample.ends)
    if promised == "an event less":
        ends[20] += 1
    elif promised == "an event more":
        ends[21] = at
    elif promised == "another":
        events[3] = (0, 0, 0, 0)
    else:
        path.write_bytes(sample.data[: at - 30])
    with pytest.raises(AssertionError):
        cuts.check(replace(sample, events=events, ends=ends), at, True, path)
