"""Damaged recordings: files of every format, mutated, give events or an InputError, nothing else.

    python -m tests.fuzz.readers [--runs N] [--seed N] [FORMAT...]

The short run, without a fuzzer; fuzz_reader.py is the long one. Each format begins with its files in corpus_readers,
whole, and goes on with mutations of them and of a longer one. Memory is limited; an input that takes more than 20 s of
processor time is a finding too. What is found is kept in tests/fuzz/build/found.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import recording_files

FOUND = Path(__file__).resolve().parent / "build" / "found"
CORPUS = Path(__file__).resolve().parent / "corpus_readers"
MEMORY = 3 << 30
LONGEST_S = 20


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Data with one to four faults: cut, bits, bytes, a piece lost, doubled or moved."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(out) + 1)
        if rng.random() < 0.3:
            at = min(at, rng.randrange(300))  # headers are where the readers decide
        match rng.randrange(7):
            case 0:
                del out[at:]
            case 1 | 2 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 3 if at < len(out):
                out[at] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
            case 4:
                del out[at : at + rng.randrange(1, 64)]
            case 5:
                out[at:at] = out[at : at + rng.randrange(1, 64)]
            case _:
                out[at : at + 4] = rng.randbytes(4)
    return bytes(out)


def try_reader(path: Path) -> bool:
    """Whether the file was read to its end; False for an InputError. Anything else is raised."""
    import spedge

    try:
        recording = spedge.open(path)
        last = 0
        for chunk in recording:
            assert len(chunk)
            assert int(chunk["t"][0]) >= last
            assert int(chunk["x"].max()) < recording.width
            assert int(chunk["y"].max()) < recording.height
            assert int(chunk["p"].max()) <= 1
            last = int(chunk["t"][-1])
        return True
    except spedge.InputError as error:
        assert str(path) in str(error), f"the sentence does not name the file: {error}"
        return False


def fuzz(format: str, seed: int, runs: int) -> int:
    """How many of the files were read to the end."""
    rng = random.Random(f"{format} {seed}")
    good = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / format
        recording_files.write(path, format)
        longer = path.read_bytes()
        seeds = [seed.read_bytes() for seed in sorted((CORPUS / format).iterdir())]
        inputs = itertools.chain(seeds, (mutated(rng.choice([*seeds, longer]), rng) for _ in itertools.count()))
        for damaged in itertools.islice(inputs, runs):
            with limited(path, damaged, FOUND / f"{seed}-{format}"):
                good += try_reader(path)
    return good


@contextmanager
def limited(path: Path, damaged: bytes, kept: Path) -> Iterator[Path]:
    """For a block that reads path, which holds these bytes; they are kept elsewhere if it fails or takes too long."""
    path.write_bytes(damaged)
    kept.write_bytes(damaged)  # before it is read: a crash leaves no time
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    yield path
    signal.setitimer(signal.ITIMER_PROF, 0)
    kept.unlink()


def prepare() -> None:
    """For a process that does nothing else: limits, and a place for what is found."""
    FOUND.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process whatever a library is doing


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.readers", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", default=recording_files.FORMATS)
    arguments = parser.parse_args()
    prepare()
    for format in arguments.formats:
        good = fuzz(format, arguments.seed, arguments.runs)
        print(f"{format}: {arguments.runs} files, {good} of them readable", flush=True)


if __name__ == "__main__":
    main()
