"""A short run of the fuzzers: readers (tests/fuzz/readers.py), decoders and frame parser (tests/fuzz/Makefile)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import recording_files
from tests.fuzz import readers
from tests.needs import needs

RUNS = 60


def test_readers_survive_damaged_files(repository: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.readers", "--runs", str(RUNS), "--seed", "7"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(recording_files.FORMATS)
    assert all(f" {RUNS} files" in line for line in lines)
    assert {folder.name for folder in readers.CORPUS.iterdir()} == set(recording_files.FORMATS)


def test_decoders_and_the_frame_parser_survive_their_corpus_and_mutations(repository: Path) -> None:
    needs("cc", "make")
    folder = repository / "tests/fuzz"
    done = subprocess.run(
        ["make", "--silent", "-C", folder, "short", "RUNS=2000"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    lines = [line for line in done.stdout.splitlines() if "mutations" in line]
    corpora = [corpus.name for corpus in (folder / "corpus").iterdir() if any(corpus.iterdir())]
    assert sorted(line.partition(":")[0] for line in lines) == sorted(corpora)
    assert all("2000 mutations" in line for line in lines)
